//! Colours, dashes, marks and hatches. Everything that a colour tells is told by a shape, too; the colours are such that
//! people with the common kinds of colour blindness tell them apart (after Okabe and Ito, darker on white, lighter on
//! black).

/// How many colours, dashes, marks and hatches there are.
pub(crate) const KINDS: usize = 8;
/// On white, and on black.
const COLOURS: [(&str, &str); KINDS] = [
    ("#555555", "#b8b8b8"),
    ("#c8500a", "#ff9a52"),
    ("#0066a8", "#5fb6f2"),
    ("#00805c", "#3fd0a2"),
    ("#946c00", "#eec643"),
    ("#a03c86", "#ec9fce"),
    ("#5b4bb0", "#b0a4f5"),
    ("#6e4a2e", "#cfa688"),
];
const DASHES: [&str; KINDS] = ["", "7 3", "2 3", "9 3 2 3", "14 4", "5 2 1.5 2 1.5 2", "4 4", "12 3 4 3"];
/// Within 9 by 9 pixels around 0 0.
const MARKS: [&str; KINDS] = [
    "M-3.5-3.5h7v7h-7z",
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "M0-4.5L4.5 3.5H-4.5z",
    "M0-5L5 0L0 5L-5 0z",
    "M0 4.5L4.5-3.5H-4.5z",
    "M-4.5-1.5h3v-3h3v3h3v3h-3v3h-3v-3h-3z",
    "M-4.5-3L-3-4.5L0-1.5L3-4.5L4.5-3L1.5 0L4.5 3L3 4.5L0 1.5L-3 4.5L-4.5 3L-1.5 0z",
    "M-2-4.5h4v9h-4z",
];
/// In a square of 7 by 7 pixels; the first is plain.
const HATCHES: [&str; KINDS] = [
    "",
    "M-1 8L8-1M-2 2L2-2M5 9L9 5",
    "M3.5 0V7",
    "M-1-1L8 8M5-2L9 2M-2 5L2 9",
    "M0 3.5H7",
    "M3.5 0V7M0 3.5H7",
    "M2 3.5h3M3.5 2v3",
    "M0 0L7 7M7 0L0 7",
];

/// The number of a colour.
pub(crate) fn colour(number: usize) -> usize {
    number % KINDS
}

/// An attribute for dashes. After eight, colours return with other dashes.
pub(crate) fn dash(number: usize) -> String {
    match DASHES[(number + 3 * (number / KINDS)) % KINDS] {
        "" => String::new(),
        dashes => format!(" stroke-dasharray=\"{dashes}\""),
    }
}

/// The shape of a mark.
pub(crate) fn mark(number: usize) -> &'static str {
    MARKS[(number + 3 * (number / KINDS)) % KINDS]
}

/// The pattern of a hatch in the paper's colour, for a figure with this id.
pub(crate) fn hatch(id: &str, hatch: usize) -> String {
    let lines = HATCHES[hatch % KINDS];
    format!(
        "<pattern id=\"{id}-h{hatch}\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\">\
         <path d=\"{lines}\" class=\"hatch\"/></pattern>"
    )
}

/// The colours as custom properties of a root, light and dark.
pub(crate) fn properties() -> String {
    let colours = |dark: bool| -> String {
        let pick = |(light, night): (&'static str, &'static str)| if dark { night } else { light };
        COLOURS.iter().enumerate().map(|(number, it)| format!("--c{number}:{};", pick(*it))).collect()
    };
    format!(
        ":root{{color-scheme:light dark;--paper:#fff;--ink:#1c1d20;--faint:#5d626b;--grid:#dcdfe4;--shade:#f4f5f7;\
         --link:#0a58a8;--warn:#fff4e0;--edge:#b35c00;{}}}\
         @media (prefers-color-scheme:dark){{:root{{--paper:#15171b;--ink:#e9eaed;--faint:#a4abb6;--grid:#353a43;\
         --shade:#1e2127;--link:#7db9f5;--warn:#33270f;--edge:#e0a040;{}}}}}",
        colours(false),
        colours(true)
    )
}

/// What the elements of figures look like.
pub(crate) fn figures() -> String {
    let numbered: String = (0..KINDS)
        .map(|it| format!(".chart .f{it}{{fill:var(--c{it})}}.chart .s{it}{{stroke:var(--c{it})}}"))
        .collect();
    format!(
        "{numbered}.chart .grid{{stroke:var(--grid);stroke-width:1}}.chart .axis{{stroke:var(--faint);stroke-width:1}}\
         .chart .one{{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:4 3}}\
         .chart .faint{{fill:var(--faint)}}.chart .strong{{font-weight:600}}\
         .chart .pale{{fill-opacity:.28;stroke-width:1.5}}.chart .edge{{fill:none;stroke:var(--paper);stroke-width:1}}\
         .chart .way{{fill:none;stroke-width:2;stroke-linejoin:round}}.chart .mark{{stroke-width:0}}\
         .chart .dot{{fill:var(--ink);stroke:var(--paper);stroke-width:1.5}}\
         .chart .whisker{{stroke-width:1.5}}.chart .middle{{stroke:var(--ink);stroke-width:2}}.chart .under{{stroke:var(--paper);stroke-width:5}}\
         .chart .hatch{{fill:none;stroke:var(--paper);stroke-width:1.3}}"
    )
}

/// All that a figure in a file of its own needs.
pub(crate) fn alone() -> String {
    let (properties, figures) = (properties(), figures());
    format!("{properties}svg{{background:var(--paper);color:var(--ink)}}{figures}")
}
