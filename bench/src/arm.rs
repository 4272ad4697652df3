//! What is compared: a command that makes load, and where it goes.

use std::{cell::RefCell, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};

use crate::{
    bridge::Bridge,
    command::run,
    load::{Kind, Sample},
    mesh::Mesh,
};

/// Where the load comes from.
#[derive(Debug)]
pub(crate) enum From {
    Bridge(std::rc::Rc<Bridge>),
    Mesh(std::rc::Rc<Mesh>),
}

/// Which number of a sample is compared. All are such that more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Answers a second.
    Rate,
    /// Set-ups a second if one followed the other: 1 / median time of `connect()`.
    SetUps,
}

/// One arm of a comparison.
#[derive(Debug)]
pub(crate) struct Arm {
    pub(crate) name: String,
    pub(crate) from: From,
    pub(crate) to: String,
    pub(crate) values: RefCell<Vec<f64>>,
}

impl Arm {
    pub(crate) fn bridge(name: &str, bridge: &std::rc::Rc<Bridge>, to: &str) -> Self {
        Self {
            name: name.into(),
            from: From::Bridge(bridge.clone()),
            to: to.into(),
            values: RefCell::default(),
        }
    }

    pub(crate) fn mesh(name: &str, mesh: &std::rc::Rc<Mesh>, to: String) -> Self {
        Self { name: name.into(), from: From::Mesh(mesh.clone()), to, values: RefCell::default() }
    }

    /// Runs the load once.
    pub(crate) fn sample(&self, program: &Path, kind: Kind, load: Load) -> Result<Sample> {
        let mut command: Command = match &self.from {
            From::Bridge(bridge) => bridge.client(program),
            From::Mesh(mesh) => mesh.client(program),
        };
        let numbers =
            [load.connections.to_string(), load.time.as_millis().to_string(), load.core.to_string()];
        let printed = run(command.args(["load", kind.word(), &self.to]).args(numbers))
            .with_context(|| format!("arm \"{}\"", self.name))?;
        serde_json::from_str(&printed).with_context(|| format!("arm \"{}\" printed {printed:?}", self.name))
    }
}

impl Figure {
    pub(crate) fn of(self, sample: Sample) -> f64 {
        match self {
            Self::Rate => sample.count as f64 / sample.seconds,
            Self::SetUps => sample.set_up.map_or(0.0, |microseconds| 1e6 / microseconds),
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Rate => "1/s",
            Self::SetUps => "1/median s",
        }
    }
}

/// How much load, and from which core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) time: Duration,
    pub(crate) core: usize,
}

/// Arms of one load, the first of which is the baseline.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) title: String,
    pub(crate) kind: Kind,
    pub(crate) figure: Figure,
    pub(crate) arms: Vec<Arm>,
}
