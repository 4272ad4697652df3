//! What the ELF reader tells of the object.

use object::{
    Endianness,
    elf::{FileHeader64, STT_FUNC},
    read::elf::{FileHeader, SectionHeader, Sym},
};
use wabe_datapath::OBJECT;

/// The entry point of a program.
pub(crate) struct Program {
    pub(crate) name: String,
    /// In units of eight bytes, as the kernel counts; a 64-bit constant counts twice.
    pub(crate) instructions: u64,
}

/// Every program. What lies in `.text` is no program but may be called by one.
pub(crate) fn programs() -> Vec<Program> {
    let (header, endian) = header();
    let sections = header.sections(endian, OBJECT).expect("sections");
    let symbols = sections.symbols(endian, OBJECT, object::elf::SHT_SYMTAB).expect("symbols");
    let mut programs = Vec::new();
    for (index, symbol) in symbols.enumerate().filter(|(_, symbol)| symbol.st_type() == STT_FUNC) {
        let section = symbols.symbol_section(endian, symbol, index).expect("a section's index");
        let section = sections.section(section.expect("a function lies in a section")).expect("section");
        if sections.section_name(endian, section).expect("name") != b".text" {
            let name = symbol.name(endian, symbols.strings()).expect("name");
            let name = String::from_utf8_lossy(name).into_owned();
            programs.push(Program { name, instructions: symbol.st_size(endian) / 8 });
        }
    }
    programs
}

/// The bytes of a section.
pub(crate) fn section(name: &str) -> &'static [u8] {
    let (header, endian) = header();
    let sections = header.sections(endian, OBJECT).expect("sections");
    let (_, section) = sections.section_by_name(endian, name.as_bytes()).expect("a section of this name");
    section.data(endian, OBJECT).expect("its data")
}

fn header() -> (&'static FileHeader64<Endianness>, Endianness) {
    let header = FileHeader64::<Endianness>::parse(OBJECT).expect("an ELF file of 64 bits");
    (header, header.endian().expect("an endianness"))
}
