//! Kernel modules in an order in which they can be inserted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Files below `folder` for modules of these names (`_` for `-`) and all that they depend on, each after those.
pub(super) fn in_order(folder: &Path, wanted: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = BTreeMap::new();
    find(folder, &mut files)?;
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    for name in wanted {
        add(name, &files, &mut seen, &mut order)?;
    }
    Ok(order)
}

fn find(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|it| it == "ko") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_");
            files.insert(name, path);
        }
    }
    Ok(())
}

fn add(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    seen: &mut BTreeSet<String>,
    order: &mut Vec<PathBuf>,
) -> Result<()> {
    if !seen.insert(name.to_owned()) {
        return Ok(());
    }
    let path = files.get(name).with_context(|| format!("the kernel's package has no module {name}"))?;
    let content = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    for dependency in dependencies(&content) {
        add(&dependency, files, seen, order)?;
    }
    order.push(path.clone());
    Ok(())
}

/// What the section `.modinfo` says: strings `key=value`, each ended by a NUL.
fn dependencies(module: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(start) = module.windows(key.len()).position(|it| it == key) else { return Vec::new() };
    let value = module[start + key.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(value);
    text.split(',').filter(|it| !it.is_empty()).map(|it| it.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_after_what_it_depends_on() {
        let folder = tempfile::tempdir().expect("a folder");
        for (file, depends) in [("a.ko", "b-b,c"), ("b-b.ko", "c"), ("c.ko", ""), ("d.ko", "")] {
            let content = format!("ELF\0license=GPL\0depends={depends}\0name=x\0");
            fs::write(folder.path().join(file), content).expect("our own folder");
        }
        let order = in_order(folder.path(), &["a", "c"]).expect("all are there");
        let names: Vec<_> = order.iter().filter_map(|it| it.file_name()).collect();
        assert_eq!(names, ["c.ko", "b-b.ko", "a.ko"]);
        assert!(in_order(folder.path(), &["e"]).is_err());
    }
}
