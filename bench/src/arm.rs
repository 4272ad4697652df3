//! What is compared: a command that makes load, and where it goes.

use std::{cell::RefCell, path::Path, process::Command, rc::Rc};

use crate::{bridge::Bridge, mesh::Mesh, proxy::Chain, work::Work};

/// The name of the arm that is Wabe's, among its peers.
pub(crate) const WABE: &str = "wabe";

/// Where the load comes from.
#[derive(Clone, Debug)]
pub(crate) enum From {
    Bridge(Rc<Bridge>),
    Mesh(Rc<Mesh>),
    Chain(Rc<Chain>),
}

impl From {
    /// A command that runs `program` where the client is.
    pub(crate) fn client(&self, program: &Path) -> Command {
        match self {
            Self::Bridge(bridge) => bridge.client(program),
            Self::Mesh(mesh) => mesh.client(program),
            Self::Chain(chain) => chain.client(program),
        }
    }
}

/// One arm of a comparison.
#[derive(Debug)]
pub(crate) struct Arm {
    pub(crate) name: String,
    pub(crate) from: From,
    /// Address and port, several of them, or with a path: what the work takes.
    pub(crate) to: String,
    /// Of a time: the arm without a proxy whose value of the same round is taken off, for what the proxy adds.
    pub(crate) direct: Option<&'static str>,
    /// Processes of the proxy, if there is one.
    pub(crate) proxy: Vec<u32>,
    /// One a round.
    pub(crate) values: RefCell<Vec<f64>>,
    /// The proxy's processor time for each request in microseconds, one a round.
    pub(crate) processor: RefCell<Vec<f64>>,
}

impl Arm {
    pub(crate) fn new(name: &str, from: From, to: String) -> Self {
        Self {
            name: name.into(),
            from,
            to,
            direct: None,
            proxy: Vec::new(),
            values: RefCell::default(),
            processor: RefCell::default(),
        }
    }

    /// The same, through a proxy with these processes.
    pub(crate) fn through(self, proxy: Vec<u32>) -> Self {
        Self { proxy, ..self }
    }

    /// The same for another comparison.
    pub(crate) fn again(&self) -> Self {
        Self::new(&self.name, self.from.clone(), self.to.clone()).through(self.proxy.clone())
    }

    pub(crate) fn bridge(name: &str, bridge: &Rc<Bridge>, to: &str) -> Self {
        Self::new(name, From::Bridge(bridge.clone()), to.into())
    }

    pub(crate) fn mesh(name: &str, mesh: &Rc<Mesh>, to: String) -> Self {
        Self::new(name, From::Mesh(mesh.clone()), to)
    }
}

/// What ratios are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ratios {
    /// Each arm in units of the first.
    ToFirst,
    /// [`WABE`] in units of each: how it does against its peers.
    OfWabe,
}

/// Arms of one load.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) title: String,
    pub(crate) work: Work,
    pub(crate) ratios: Ratios,
    pub(crate) arms: Vec<Arm>,
}

impl Comparison {
    /// What came out.
    pub(crate) fn table(&self) -> Table {
        let rows = self.arms.iter().map(|arm| Row {
            name: arm.name.clone(),
            to: arm.to.clone(),
            values: arm.values.borrow().clone(),
        });
        Table { title: self.title.clone(), unit: self.work.unit(), ratios: self.ratios, rows: rows.collect() }
    }

    /// What each request costs the proxies; `None` if that was not looked at.
    pub(crate) fn processor(&self) -> Option<Table> {
        let known = self.arms.iter().filter(|arm| !arm.processor.borrow().is_empty());
        let rows = known.map(|arm| Row {
            name: arm.name.clone(),
            to: arm.to.clone(),
            values: arm.processor.borrow().clone(),
        });
        let rows: Vec<Row> = rows.collect();
        let title = format!("{}: processor time of the proxy for each", self.title);
        (!rows.is_empty()).then_some(Table { title, unit: "us", ratios: self.ratios, rows })
    }

    /// What each proxy adds to the arm without one, round by round; `None` if no arm has such.
    pub(crate) fn added(&self) -> Option<Table> {
        let rows: Vec<Row> = self
            .arms
            .iter()
            .filter_map(|arm| {
                let direct = self.arms.iter().find(|it| Some(it.name.as_str()) == arm.direct)?;
                let (with, without) = (arm.values.borrow(), direct.values.borrow());
                let values = with.iter().zip(without.iter()).map(|(with, without)| with - without).collect();
                Some(Row { name: arm.name.clone(), to: arm.to.clone(), values })
            })
            .collect();
        let title = format!("{}: what the proxy adds", self.title);
        (!rows.is_empty()).then(|| Table { title, unit: self.work.unit(), ratios: self.ratios, rows })
    }
}

/// Values that are compared, however they were taken.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) ratios: Ratios,
    pub(crate) rows: Vec<Row>,
}

/// Those of one arm.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Where it answered.
    pub(crate) to: String,
    /// One a round.
    pub(crate) values: Vec<f64>,
}
