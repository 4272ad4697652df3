//! What a profiler saw, and the parser of what `perf script` prints of it. Pure.

/// One look of a profiler at one core.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Name of the thread: `nginx`, `swapper`.
    pub name: String,
    /// The process; 0 if the core had none.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The core.
    pub core: u32,
    /// Seconds since the machine started.
    pub time: f64,
    /// Who called whom, the innermost first, at most [`DEPTH`].
    pub frames: Vec<Frame>,
}

/// A function that was running, or had called the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where, as `perf` tells it: in the kernel the address, otherwise the place in the object's file.
    pub address: u64,
    /// The function, if it has a name.
    pub symbol: Option<String>,
    /// The program or library: `/usr/sbin/nginx`, `[kernel.kallsyms]`; `None` if it is unknown.
    pub object: Option<String>,
}

/// Programs without frame pointers give long nonsense beyond their innermost function.
pub const DEPTH: usize = 64;

impl Look {
    /// The part of the chain that is in the kernel: all up to the last frame that is surely there. Programs of eBPF have
    /// addresses that don't tell, but are always called by the kernel.
    #[must_use]
    pub fn kernel(&self) -> &[Frame] {
        &self.frames[..self.frames.iter().rposition(Frame::in_kernel).map_or(0, |last| last + 1)]
    }
}

impl Frame {
    fn in_kernel(&self) -> bool {
        // Nonsense of a user's stack can have such an address, but no name.
        self.symbol.is_some()
            && (self.address >> 63 == 1 || self.object.as_deref().is_some_and(|it| it.starts_with("[kernel")))
    }
}

/// What `perf script -F comm,pid,tid,cpu,time,ip,sym,dso` prints: for each look a line with the thread, a line for each frame,
/// and an empty line. Lines that are neither are skipped; so is a frame without a look.
#[must_use]
pub fn parse(text: &str) -> Vec<Look> {
    let mut looks = Vec::new();
    let mut open: Option<Look> = None;
    for line in text.lines() {
        if line.trim().is_empty() {
            looks.extend(open.take());
        } else if line.starts_with(char::is_whitespace) && open.is_some() {
            if let (Some(look), Some(frame)) = (&mut open, frame(line))
                && look.frames.len() < DEPTH
            {
                look.frames.push(frame);
            }
        } else if let Some(look) = head(line) {
            looks.extend(open.replace(look));
        }
    }
    looks.extend(open);
    looks
}

/// `dog:main_thread 31103/31105 [000] 72279.823671:`; the name may hold spaces.
fn head(line: &str) -> Option<Look> {
    let (rest, time) = line.trim_end().strip_suffix(':')?.rsplit_once(' ')?;
    let (rest, core) = rest.trim_end().strip_suffix(']')?.rsplit_once('[')?;
    let rest = rest.trim_end();
    let (name, ids) = rest.rsplit_once(' ').unwrap_or(("", rest));
    let (pid, tid) = ids.split_once('/')?;
    Some(Look {
        name: name.trim().to_owned(),
        pid: pid.parse().ok()?,
        tid: tid.parse().ok()?,
        core: core.parse().ok()?,
        time: time.parse().ok()?,
        frames: Vec::new(),
    })
}

/// After spaces, `ffffffff8209bc97 tcp_rack_advance ([kernel.kallsyms])`; both the function and the object may hold spaces.
fn frame(line: &str) -> Option<Frame> {
    let (address, rest) = line.trim().split_once(' ')?;
    let (symbol, object) = match rest.strip_suffix(')').and_then(|rest| rest.rsplit_once('(')) {
        Some((symbol, object)) => (symbol.trim(), Some(object)),
        None => (rest.trim(), None),
    };
    let known = |it: &&str| !it.is_empty() && *it != "[unknown]";
    Some(Frame {
        address: u64::from_str_radix(address, 16).ok()?,
        symbol: Some(symbol).filter(known).map(str::to_owned),
        object: object.filter(known).map(str::to_owned),
    })
}
