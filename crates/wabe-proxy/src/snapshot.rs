//! What the agent writes for the proxy.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use wabe_model::{
    AccessLog, AppProtocol, Balance, ConnectionPool, Failover, HashKey, Locality, ObjectName,
    OutlierDetection,
};
use wabe_policy::{
    http::HttpTable,
    requests::RequestPolicy,
    stream::{tcp::TcpTable, tls::TlsTable},
};

/// All that the proxy goes by, as JSON in a file that is replaced by `rename`. `Table` is the table of routes of requests in the form
/// that its reader wants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot<Table = HttpTable> {
    /// The generation that it was made for.
    pub generation: u64,
    /// What is logged.
    #[serde(default)]
    pub access_log: AccessLog,
    /// How many workers serve, 1 to 64; as many as there are cores if it does not say.
    #[serde(default)]
    pub workers: Option<u8>,
    /// For so long after bytes came a worker looks for more before it sleeps.
    #[serde(default)]
    pub busy_poll: Duration,
    /// Workloads by id.
    pub workloads: BTreeMap<u32, WorkloadFacts>,
    /// The ports of services whose callers are led here.
    pub ports: Vec<ServiceFacts<Table>>,
    /// Where requests may go.
    pub backends: Vec<BackendFacts>,
    /// Policies that look at requests.
    #[serde(default)]
    pub policies: Vec<RequestPolicy>,
    /// The workloads that have some.
    #[serde(default)]
    pub judged: BTreeMap<u32, JudgedFacts>,
}

/// What requests to a workload are judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgedFacts {
    /// The place in [`Snapshot::policies`]. One that is not there refuses everybody.
    pub policy: usize,
    /// The generation since which it holds: the kernel refuses connections that were made by an earlier one.
    pub generation: u64,
}

/// A workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadFacts {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`.
    pub identity: String,
    /// Its address.
    pub v4: Ipv4Addr,
    /// Its address.
    pub v6: Ipv6Addr,
    /// Where it is, for the choice of endpoints near it.
    #[serde(default)]
    pub locality: Locality,
    /// It ends once nothing is connected to it.
    #[serde(default)]
    pub leaving: bool,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceFacts<Table = HttpTable> {
    /// The service.
    pub service: ObjectName,
    /// Its virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// The port.
    pub port: u16,
    /// What its connections' bytes are taken for: what its routes need, else what the Service says.
    #[serde(default)]
    pub protocol: AppProtocol,
    /// The same of connections of callers in these namespaces, which have routes of their own.
    #[serde(default)]
    pub consumers: BTreeMap<String, AppProtocol>,
    /// The routes of requests that hold for it. For one caller at most one of this, `tls` and `tcp` holds: by its protocol.
    pub table: Table,
    /// The routes of TLS connections that hold for it.
    #[serde(default)]
    pub tls: Option<TlsTable>,
    /// The routes of connections that hold for it.
    #[serde(default)]
    pub tcp: Option<TcpTable>,
}

impl<Table> Snapshot<Table> {
    /// The same with other tables.
    ///
    /// # Errors
    /// The first of what `change` fails with.
    pub(crate) fn with_tables<Other, Error>(
        self,
        mut change: impl FnMut(Table) -> Result<Other, Error>,
    ) -> Result<Snapshot<Other>, Error> {
        let Self { generation, access_log, workers, busy_poll, workloads, ports, backends, policies, judged } =
            self;
        let ports = ports.into_iter().map(|facts| {
            let ServiceFacts { service, addresses, port, protocol, consumers, table, tls, tcp } = facts;
            let table = change(table)?;
            Ok(ServiceFacts { service, addresses, port, protocol, consumers, table, tls, tcp })
        });
        let ports = ports.collect::<Result<_, Error>>()?;
        Ok(Snapshot {
            generation,
            access_log,
            workers,
            busy_poll,
            workloads,
            ports,
            backends,
            policies,
            judged,
        })
    }
}

impl ServiceFacts {
    /// What connections of a caller in this namespace are taken for.
    pub fn protocol_of(&self, namespace: &str) -> AppProtocol {
        self.consumers.get(namespace).copied().unwrap_or(self.protocol)
    }
}

/// A port of a service that requests may go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendFacts {
    /// The service.
    pub service: ObjectName,
    /// The port.
    pub port: u16,
    /// What its endpoints understand, of those that speak HTTP.
    #[serde(default)]
    pub speaks: Speaks,
    /// Who serves it now.
    pub endpoints: Vec<EndpointFacts>,
    /// How requests are spread over them.
    #[serde(default)]
    pub traffic: TrafficPolicy,
}

/// Which version of HTTP a backend is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Speaks {
    /// Nobody said: the caller's.
    #[default]
    AsCaller,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// How requests are spread over a backend's endpoints: what the Service says, and its DestinationRule over that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrafficPolicy {
    /// How one is chosen, if no hash says where a request goes.
    pub balance: Balance,
    /// What of a request says where it goes.
    pub hash: Option<HashKey>,
    /// Endpoints near the caller come first.
    pub near: bool,
    /// Which region comes next if none of the caller's own is left; only if near ones come first.
    pub failover: Failover,
    /// How long a new endpoint takes to get its whole share.
    pub warmup: Option<Duration>,
    /// Limits of connections and requests.
    pub pool: ConnectionPool,
    /// When an endpoint that fails gets nothing for a while.
    pub outliers: Option<OutlierDetection>,
}

/// A place where a service's port is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointFacts {
    /// The workload there.
    pub workload: u32,
    /// Its address.
    pub v4: Ipv4Addr,
    /// Its address.
    pub v6: Ipv6Addr,
    /// Where it listens.
    pub port: u16,
    /// 1 or more.
    pub weight: u32,
    /// Where it is.
    #[serde(default)]
    pub locality: Locality,
}
