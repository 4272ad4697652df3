//! A reader of BTF, as far as maps and structs need it (the kernel's Documentation/bpf/btf.rst).

use std::collections::BTreeSet;

use crate::{elf, shapes::Shape};

const MAGIC: u32 = 0xeb9f;

/// The types of an object; the first has id 1.
pub(crate) struct Btf(Vec<Type>);

/// A map's definition.
pub(crate) struct Map {
    pub(crate) name: String,
    pub(crate) kind: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    types: Vec<u32>,
}

struct Type {
    name: &'static str,
    kind: Kind,
}

enum Kind {
    Int { size: u32 },
    Pointer { to: u32 },
    Array { of: u32, length: u32 },
    Struct { size: u32, fields: Vec<Field> },
    Variable { of: u32 },
    Section { variables: Vec<u32> },
    Other,
}

struct Field {
    name: &'static str,
    of: u32,
    offset: usize,
}

impl Btf {
    pub(crate) fn of_object() -> Self {
        let bytes = elf::section(".BTF");
        let word =
            |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("invariant: four bytes"));
        assert_eq!(word(0) & 0xffff, MAGIC, "no BTF");
        let header = word(4) as usize;
        let (types, types_length) = (header + word(8) as usize, word(12) as usize);
        let strings = &bytes[header + word(16) as usize..];
        let words = (types..types + types_length).step_by(4).map(word).collect();
        Self(Reader { words, at: 0, strings }.types())
    }

    /// All maps.
    pub(crate) fn maps(&self) -> Vec<Map> {
        let section = self.0.iter().find(|it| it.name == ".maps").expect("a section .maps");
        let Kind::Section { variables } = &section.kind else { panic!(".maps is no section") };
        variables.iter().map(|id| self.map(*id)).collect()
    }

    /// The struct of this name; there is exactly one.
    pub(crate) fn shape(&self, name: &'static str) -> Shape {
        let structs = || self.0.iter().filter(|it| it.name == name).map(|it| &it.kind);
        let Some(Kind::Struct { size, fields }) = structs().next() else {
            panic!("the object has no struct {name}")
        };
        assert_eq!(structs().count(), 1, "the object has several types {name}");
        Shape {
            name,
            size: *size as usize,
            fields: fields.iter().map(|field| (field.name, field.offset)).collect(),
        }
    }

    /// Names of all structs that keys and values of maps are made of.
    pub(crate) fn structs_in_maps(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open: Vec<u32> = self.maps().into_iter().flat_map(|map| map.types).collect();
        while let Some(id) = open.pop() {
            match &self.get(id).kind {
                Kind::Array { of, .. } => open.push(*of),
                Kind::Struct { fields, .. } => {
                    found.insert(self.get(id).name.to_owned());
                    open.extend(fields.iter().map(|field| field.of));
                }
                Kind::Int { .. } => {}
                Kind::Pointer { .. } | Kind::Variable { .. } | Kind::Section { .. } | Kind::Other => {
                    panic!("a map holds something that has no fixed bytes: {}", self.get(id).name)
                }
            }
        }
        found
    }

    /// A map's definition is a struct of pointers: to its types, and to arrays whose lengths are its numbers.
    fn map(&self, variable: u32) -> Map {
        let Type { name, kind: Kind::Variable { of } } = self.get(variable) else { panic!("no variable") };
        let Kind::Struct { fields, .. } = &self.get(*of).kind else { panic!("{name} is no struct") };
        let target = |wanted: &str| {
            let field = fields.iter().find(|field| field.name == wanted)?;
            let Kind::Pointer { to } = self.get(field.of).kind else {
                panic!("{name}.{wanted} is no pointer")
            };
            Some(to)
        };
        let number = |wanted: &str| {
            let Kind::Array { length, .. } = self.get(target(wanted)?).kind else {
                panic!("{name}.{wanted}")
            };
            Some(length)
        };
        let types: Vec<u32> = ["key", "value"].into_iter().filter_map(target).collect();
        let size = |wanted: &str| target(wanted).map_or(0, |id| self.size(id));
        Map {
            name: (*name).to_owned(),
            kind: number("type").expect("a map has a type"),
            key_size: number("key_size").unwrap_or_else(|| size("key")),
            // A ring buffer names what it carries but has values of size 0.
            value_size: number("value_size").unwrap_or_else(|| size("value")),
            max_entries: number("max_entries").unwrap_or(0),
            flags: number("map_flags").unwrap_or(0),
            types,
        }
    }

    fn size(&self, id: u32) -> u32 {
        match &self.get(id).kind {
            Kind::Int { size } | Kind::Struct { size, .. } => *size,
            Kind::Array { of, length } => length * self.size(*of),
            Kind::Pointer { .. } => 8,
            Kind::Variable { .. } | Kind::Section { .. } | Kind::Other => panic!("type {id} has no size"),
        }
    }

    fn get(&self, id: u32) -> &Type {
        &self.0[id as usize - 1]
    }
}

struct Reader {
    words: Vec<u32>,
    at: usize,
    strings: &'static [u8],
}

impl Reader {
    fn types(mut self) -> Vec<Type> {
        let mut types = Vec::new();
        while self.at < self.words.len() {
            let (name, info, size_or_type) = (self.name(), self.next(), self.next());
            let (kind, length) = (info >> 24 & 0x1f, info & 0xffff);
            let kind = match kind {
                1 => {
                    self.skip(1);
                    Kind::Int { size: size_or_type }
                }
                2 => Kind::Pointer { to: size_or_type },
                3 => {
                    let of = self.next();
                    self.skip(1);
                    Kind::Array { of, length: self.next() }
                }
                4 => Kind::Struct { size: size_or_type, fields: (0..length).map(|_| self.field()).collect() },
                14 => {
                    self.skip(1);
                    Kind::Variable { of: size_or_type }
                }
                15 => Kind::Section { variables: (0..length).map(|_| self.section_entry()).collect() },
                // Unions, enums of 64 bits; enums of 32 bits, prototypes; tags. The rest has no further words.
                5 | 19 => self.other(3 * length),
                6 | 13 => self.other(2 * length),
                17 => self.other(1),
                _ => self.other(0),
            };
            types.push(Type { name, kind });
        }
        types
    }

    fn field(&mut self) -> Field {
        let (name, of, bits) = (self.name(), self.next(), self.next());
        assert!(bits % 8 == 0 && bits < 1 << 24, "{name} is a bit field");
        Field { name, of, offset: bits as usize / 8 }
    }

    fn section_entry(&mut self) -> u32 {
        let variable = self.next();
        self.skip(2);
        variable
    }

    fn other(&mut self, words: u32) -> Kind {
        self.skip(words);
        Kind::Other
    }

    fn next(&mut self) -> u32 {
        self.at += 1;
        self.words[self.at - 1]
    }

    fn skip(&mut self, words: u32) {
        self.at += words as usize;
    }

    fn name(&mut self) -> &'static str {
        let rest = &self.strings[self.next() as usize..];
        let length = rest.iter().position(|byte| *byte == 0).expect("strings end with NUL");
        std::str::from_utf8(&rest[..length]).expect("names are ASCII")
    }
}
