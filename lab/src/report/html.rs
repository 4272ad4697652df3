//! A document as one HTML file: no scripts, nothing from elsewhere.

use super::{
    document::{Block, Table},
    style,
    svg::{Figure, WIDTHS},
    text::{escape, slug},
};

/// Everything but figures, which [`style::figures`] dresses.
const SHEET: &str = "\
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,'DejaVu Sans',Arial,sans-serif}
main{max-width:752px;margin:0 auto;padding:24px 16px 64px}
h1{font-size:1.75rem;line-height:1.2;margin:.5em 0 .6em}
h2{font-size:1.3rem;line-height:1.25;margin:2.6em 0 .6em;padding-top:.7em;border-top:1px solid var(--grid)}
h3{font-size:1.05rem;margin:2em 0 .5em}
p,li{overflow-wrap:anywhere}
ul{padding-left:1.2em}
li{margin:.3em 0}
a{color:var(--link)}
nav ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.1em 1.2em;font-size:.92rem}
.notice{background:var(--warn);border-left:4px solid var(--edge);padding:.6em 1em;margin:1em 0}
.notice ul{margin:.2em 0}
figure{margin:1.2em 0 2.2em}
figcaption{font-size:.875rem;color:var(--faint);margin-top:.5em}
figcaption b{color:var(--ink);font-weight:600}
svg.chart{display:block;overflow:visible}
svg.narrow{display:none}
@media (max-width:767px){svg.wide{display:none}svg.narrow{display:block}}
.scroll{overflow-x:auto;margin:1em 0 1.6em;max-width:100%}
table{border-collapse:collapse;font-size:.84rem;line-height:1.4;font-variant-numeric:tabular-nums}
caption{text-align:left;font-size:.9rem;color:var(--faint);padding:0 0 .5em;max-width:min(720px,calc(100vw - 32px));position:sticky;left:0}
th,td{text-align:left;vertical-align:top;padding:.38em 1.1em .38em 0;border-bottom:1px solid var(--grid);min-width:4.5em;max-width:24em}
th{font-weight:600}
thead th{color:var(--faint);white-space:nowrap;border-bottom:1px solid var(--faint)}
td.number{white-space:nowrap}
td.long{min-width:15em;overflow-wrap:anywhere}
tbody th{white-space:nowrap}
tbody th.long{white-space:normal;min-width:14em}
pre{background:var(--shade);padding:.8em 1em;overflow-x:auto;font-size:.85rem}
details{border-bottom:1px solid var(--grid);padding:.15em 0}
summary{cursor:pointer;padding:.35em 0;overflow-wrap:anywhere}
@media (min-width:1160px){.scroll.broad{width:1100px;max-width:1100px;margin-left:-190px}}
@media print{details::details-content{content-visibility:visible}}
";

/// The whole page.
pub(crate) fn page(title: &str, blocks: &[Block]) -> String {
    let style = format!("{}{}{SHEET}", style::properties(), style::figures());
    let body = all(blocks);
    let (title, contents) = (escape(title), contents(blocks));
    // Contents stand after the summary, which is what most people want first.
    let body = body.replacen("<h2", &format!("{contents}<h2"), 2).replacen(&contents, "", 1);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{style}</style>\n\
         </head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
}

fn contents(blocks: &[Block]) -> String {
    let entry = |words: &String| format!("<li><a href=\"#{}\">{}</a></li>", slug(words), escape(words));
    let entries: String = blocks
        .iter()
        .filter_map(|block| match block {
            Block::Heading(2, words) => Some(entry(words)),
            Block::Heading(..) | Block::Paragraph(_) | Block::Notice(_) | Block::List(_) => None,
            Block::Table(_) | Block::Figure(_) | Block::Details(..) | Block::Code(_) => None,
        })
        .collect();
    format!("<nav aria-label=\"Contents\"><ul>{entries}</ul></nav>\n")
}

fn all(blocks: &[Block]) -> String {
    blocks.iter().map(block).collect()
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading(level, words) => {
            format!("<h{level} id=\"{}\">{}</h{level}>\n", slug(words), escape(words))
        }
        Block::Paragraph(text) => format!("<p>{}</p>\n", words(text)),
        Block::Notice(items) => format!("<div class=\"notice\" role=\"note\">{}</div>\n", list(items)),
        Block::List(items) => list(items),
        Block::Table(it) => table(it),
        Block::Figure(it) => figure(it),
        Block::Details(summary, inner) => {
            format!("<details><summary>{}</summary>\n{}</details>\n", escape(summary), all(inner))
        }
        Block::Code(words) => format!("<pre tabindex=\"0\"><code>{}</code></pre>\n", escape(words)),
    }
}

/// Text, in which no line begins with the sign behind a number.
fn words(text: &str) -> String {
    escape(text).replace(" %", "\u{a0}%")
}

fn list(items: &[String]) -> String {
    let items: String = items.iter().map(|it| format!("<li>{}</li>", words(it))).collect();
    format!("<ul>{items}</ul>\n")
}

fn figure(figure: &Figure) -> String {
    let drawings: String = WIDTHS.iter().map(|(class, width)| figure.inline(class, *width)).collect();
    let (id, title, caption) = (&figure.id, escape(&figure.title), words(&figure.caption));
    format!(
        "<figure id=\"{id}\">{drawings}<figcaption><b>{title}.</b> {caption} \
         <a href=\"figures/{id}.svg\">SVG</a></figcaption></figure>\n"
    )
}

fn table(table: &Table) -> String {
    let head: String = table.head.iter().map(|it| format!("<th scope=\"col\">{}</th>", escape(it))).collect();
    let rows: String = table.rows.iter().map(|it| row(it)).collect();
    let (caption, broad) = (escape(&table.caption), if table.head.len() > 5 { " broad" } else { "" });
    // It can be scrolled by keys if it can be focused.
    format!(
        "<div class=\"scroll{broad}\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table><caption>{caption}\
         </caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>\n"
    )
}

fn row(cells: &[String]) -> String {
    let mut out = String::from("<tr>");
    for (place, text) in cells.iter().enumerate() {
        let long = text.chars().count() > 34;
        let words = words(text);
        out += &match (place, long) {
            (0, false) => format!("<th scope=\"row\">{words}</th>"),
            (0, true) => format!("<th scope=\"row\" class=\"long\">{words}</th>"),
            (_, false) => format!("<td class=\"number\">{words}</td>"),
            (_, true) => format!("<td class=\"long\">{words}</td>"),
        };
    }
    out + "</tr>"
}
