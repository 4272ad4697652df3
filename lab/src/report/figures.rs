//! The figures, each from what is measured to a [`super::svg::Figure`].

mod boxes;
mod cdf;
mod curves;
mod ratios;
mod rows;
mod stacks;

pub(crate) use boxes::{boxes, maxima};
pub(crate) use cdf::cdf;
pub(crate) use curves::curves;
pub(crate) use ratios::ratios;
pub(crate) use stacks::{breakdown, processor};
