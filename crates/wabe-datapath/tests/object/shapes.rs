//! The shared structs as this compiler lays them out.

use wabe_abi::{Be16, Be32, layout};

/// Where a struct has what.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) size: usize,
    /// Names and offsets in bytes, by offset.
    pub(crate) fields: Vec<(&'static str, usize)>,
}

/// Every struct that is a key, a value, an event or a part of one. The fields are compared as a list: one that is
/// missing here is found.
pub(crate) fn all() -> Vec<Shape> {
    let newtypes = [newtype("Be16", size_of::<Be16>()), newtype("Be32", size_of::<Be32>())];
    let structs = layout::SHAPES.iter().filter(|it| it.name != SPELT_DIFFERENTLY).map(shape);
    newtypes.into_iter().chain(structs).collect()
}

/// The one key that the kernel's half spells differently: aya's trie has a type of its own.
pub(crate) fn prefix_key() -> Shape {
    let found = layout::SHAPES.iter().find(|it| it.name == SPELT_DIFFERENTLY);
    shape(found.expect("a known struct"))
}

const SPELT_DIFFERENTLY: &str = "PrefixKey";

fn shape(shape: &layout::Shape) -> Shape {
    Shape { name: shape.name, size: shape.size, fields: shape.fields.to_vec() }
}

/// A struct of one private field.
fn newtype(name: &'static str, size: usize) -> Shape {
    Shape { name, size, fields: vec![("__0", 0)] }
}
