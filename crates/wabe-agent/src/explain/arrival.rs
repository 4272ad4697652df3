//! The receiver's side of a connection that does not exist: with the ticket, or the exchange, that its caller would write.

use wabe_abi::{
    Affinity, AffinityKey, Be16, ClassKey, Config, DropReason, EndpointKey, EndpointRecord, Exchange, Ip,
    Lane, Pace, PolicyVerdict, PortKey, PrefixKey, ServiceKey, ServiceRecord, Ticket, Tuple, VerdictKey,
    WorkloadRecord, ticket_flag,
};
use wabe_verdict::{Arrival, Inbound, Row, Tables, inbound};

use super::{By, Outcome, Question};

/// Any port of the range that the kernel takes callers' ports from; no decision looks at it.
const SOURCE_PORT: Be16 = Be16::new(40_000);

/// Judges the arrival of a connection that the caller's side let go, by a rule that it gave.
pub(super) fn arrive<T: Tables>(tables: &T, question: &Question, by: By, rule: u32) -> Outcome {
    // A mapped address, as ::ffff:10.1.2.3, is dialled by IPv6 sockets and travels as IPv4.
    let destination = Ip::from(question.destination);
    let source = tables.workload(question.from).map(|it| if destination.is_v4() { it.v4 } else { it.v6 });
    let tuple = Tuple::new(
        question.protocol,
        source.unwrap_or(Ip::UNSPECIFIED),
        SOURCE_PORT,
        destination,
        Be16::new(question.port),
    );
    let mut ticket = Ticket { workload: question.from, ..Ticket::default() };
    match by {
        By::Caller => {}
        By::Proxy => (ticket.flags, ticket.generation) = (ticket_flag::LAYER7_DONE, u64::MAX),
    }
    let ticketed = WithTicket { tables, tuple, ticket };
    let refused =
        |reason, rule| Outcome { refusal: Some(reason), lane: Lane::Refused, rule, at_receiver: true };
    match inbound(&ticketed, &Arrival { tuple, over_lo: false }) {
        Inbound::Admit { lane, rule: admitting, .. } => {
            let rule = if admitting == 0 { rule } else { admitting };
            Outcome { refusal: None, lane, rule, at_receiver: true }
        }
        Inbound::Refuse { reason, rule, .. } => refused(reason, rule),
        Inbound::ToProxy { .. } => Outcome { refusal: None, lane: Lane::Proxy, rule, at_receiver: true },
        Inbound::Stray => refused(DropReason::Stranger, 0),
    }
}

/// Tables with one ticket more, and one exchange that no generation has seen yet.
struct WithTicket<'a, T> {
    tables: &'a T,
    tuple: Tuple,
    ticket: Ticket,
}

impl<T: Tables> Tables for WithTicket<'_, T> {
    type Row<R: Copy + 'static> = Row<R>;

    fn config(&self) -> Option<Row<Config>> {
        self.tables.config().map(|row| Row(*row))
    }

    fn workload(&self, id: u32) -> Option<Row<WorkloadRecord>> {
        self.tables.workload(id).map(|row| Row(*row))
    }

    fn workload_at(&self, address: &Ip) -> Option<u32> {
        self.tables.workload_at(address)
    }

    fn service(&self, key: &ServiceKey) -> Option<Row<ServiceRecord>> {
        self.tables.service(key).map(|row| Row(*row))
    }

    fn endpoint(&self, key: &EndpointKey) -> Option<Row<EndpointRecord>> {
        self.tables.endpoint(key).map(|row| Row(*row))
    }

    fn live(&self, endpoint: u32) -> u64 {
        self.tables.live(endpoint)
    }

    fn turn(&self, service: u32) -> u64 {
        self.tables.turn(service)
    }

    fn affinity(&self, key: &AffinityKey) -> Option<Row<Affinity>> {
        self.tables.affinity(key).map(|row| Row(*row))
    }

    fn stay(&self, key: &AffinityKey, affinity: &Affinity) {
        self.tables.stay(key, affinity);
    }

    fn now(&self) -> u64 {
        self.tables.now()
    }

    fn pace(&self, workload: u32) -> Pace {
        self.tables.pace(workload)
    }

    fn identity_class(&self, key: &ClassKey) -> Option<u32> {
        self.tables.identity_class(key)
    }

    fn port_class(&self, key: &PortKey) -> Option<u32> {
        self.tables.port_class(key)
    }

    fn prefix_class(&self, key: &PrefixKey) -> Option<u32> {
        self.tables.prefix_class(key)
    }

    fn verdict(&self, key: &VerdictKey) -> Option<Row<PolicyVerdict>> {
        self.tables.verdict(key).map(|row| Row(*row))
    }

    fn ticket(&self, tuple: &Tuple) -> Option<Row<Ticket>> {
        if *tuple == self.tuple {
            Some(Row(self.ticket))
        } else {
            self.tables.ticket(tuple).map(|row| Row(*row))
        }
    }

    fn tickets_of(&self, workload: u32) -> u64 {
        self.tables.tickets_of(workload)
    }

    fn exchange(&self, tuple: &Tuple) -> Option<Row<Exchange>> {
        if *tuple == self.tuple {
            let source_workload = self.ticket.workload;
            Some(Row(Exchange { source_workload, ..Exchange::default() }))
        } else {
            self.tables.exchange(tuple).map(|row| Row(*row))
        }
    }

    fn exchanges_of(&self, workload: u32) -> u64 {
        self.tables.exchanges_of(workload)
    }

    fn connections(&self) -> u64 {
        self.tables.connections()
    }

    fn random(&self) -> u32 {
        self.tables.random()
    }
}
