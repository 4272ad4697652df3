//! A document as Markdown, for where HTML is not shown.

use super::{
    document::{Block, Table},
    text::escape_markdown,
};

/// The whole text.
pub(crate) fn text(blocks: &[Block]) -> String {
    let mut out: Vec<String> = Vec::new();
    blocks.iter().for_each(|it| block(it, &mut out));
    out.join("\n\n") + "\n"
}

fn block(it: &Block, out: &mut Vec<String>) {
    match it {
        Block::Heading(level, words) => {
            out.push(format!("{} {}", "#".repeat(usize::from(*level)), escape_markdown(words)));
        }
        Block::Paragraph(words) => out.push(escape_markdown(words)),
        Block::Notice(items) => out.push(list(items, "> ")),
        Block::List(items) => out.push(list(items, "")),
        Block::Table(it) => {
            out.push(format!("*{}*", escape_markdown(&it.caption)));
            out.push(table(it));
        }
        Block::Figure(it) => {
            let (title, id) = (escape_markdown(&it.title), &it.id);
            out.push(format!("![{title}](figures/{id}.svg)"));
            out.push(format!("*{title}.* {}", escape_markdown(&it.caption)));
        }
        Block::Details(summary, inner) => {
            out.push(format!("**{}**", escape_markdown(summary)));
            inner.iter().for_each(|it| block(it, out));
        }
        // A fence ends at the first line of as many signs; a command has no lines of its own.
        Block::Code(words) => out.push(format!("```\n{}\n```", words.replace(['\n', '\r', '`'], " "))),
    }
}

fn list(items: &[String], before: &str) -> String {
    items.iter().map(|it| format!("{before}- {}", escape_markdown(it))).collect::<Vec<_>>().join("\n")
}

fn table(table: &Table) -> String {
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let head = line(table.head.iter().map(|it| escape_markdown(it)).collect());
    let rule = format!("|{}", "---|".repeat(table.head.len()));
    let rows = table.rows.iter().map(|it| line(it.iter().map(|it| escape_markdown(it)).collect()));
    [head, rule].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}
