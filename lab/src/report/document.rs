//! A document of plain words: what HTML and Markdown are made from. Nothing in it is escaped yet.

use super::svg::Figure;

/// A part of a document.
pub(crate) enum Block {
    /// Of level 1, 2 or 3.
    Heading(u8, String),
    Paragraph(String),
    /// What must be read before anything else.
    Notice(Vec<String>),
    List(Vec<String>),
    Table(Table),
    Figure(Figure),
    /// Folded until somebody opens it.
    Details(String, Vec<Block>),
    /// A command line.
    Code(String),
}

/// A table. The first cell of a row names it.
pub(crate) struct Table {
    pub(crate) caption: String,
    pub(crate) head: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Block {
    pub(crate) fn paragraph(words: impl Into<String>) -> Self {
        Self::Paragraph(words.into())
    }

    pub(crate) fn table(caption: &str, head: &[&'static str], rows: Vec<Vec<String>>) -> Self {
        Self::Table(Table { caption: caption.to_owned(), head: head.to_vec(), rows })
    }
}

/// All figures of a document, in order.
pub(crate) fn figures(blocks: &[Block]) -> Vec<&Figure> {
    let mut all = Vec::new();
    for block in blocks {
        match block {
            Block::Figure(figure) => all.push(figure),
            Block::Details(_, inner) => all.extend(figures(inner)),
            Block::Heading(..) | Block::Paragraph(_) | Block::Notice(_) | Block::List(_) => {}
            Block::Table(_) | Block::Code(_) => {}
        }
    }
    all
}

/// Gives every figure a name of its own: names come from points and arms, which may look alike without their signs.
pub(crate) fn name_figures(blocks: &mut [Block], taken: &mut std::collections::BTreeSet<String>) {
    for block in blocks {
        match block {
            Block::Figure(figure) => {
                let plain = figure.id.clone();
                let mut number = 1;
                while !taken.insert(figure.id.clone()) {
                    number += 1;
                    figure.id = format!("{plain}-{number}");
                }
            }
            Block::Details(_, inner) => name_figures(inner, taken),
            Block::Heading(..) | Block::Paragraph(_) | Block::Notice(_) | Block::List(_) => {}
            Block::Table(_) | Block::Code(_) => {}
        }
    }
}
