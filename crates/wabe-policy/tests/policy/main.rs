//! Compiled policies against Istio's documented meaning, the interpreter, and their limits.

mod agreement;
mod build;
mod examples;
mod kernel;
mod limits;
mod shape;
