//! What a server's processes use of the machine, read from /proc.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nix::unistd::{SysconfVar, sysconf};

/// The state of a socket that listens, in /proc/net/tcp.
const LISTENS: &str = "0A";

/// What processes have used and use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Time on cores since they began, in seconds; counted in clock ticks, a hundredth of a second each.
    pub(crate) cpu_s: f64,
    /// Memory that is resident.
    pub(crate) rss_bytes: u64,
    /// Open files and sockets.
    pub(crate) handles: u64,
}

/// The processes of this machine that listen on a port.
pub(crate) fn listening_on(port: u16) -> Vec<u32> {
    let mut sockets = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        sockets.extend(text.lines().skip(1).filter_map(|line| listener(line, port)));
    }
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut pids: Vec<u32> = pids.filter(|pid| holds_any(*pid, &sockets)).collect();
    pids.sort_unstable();
    pids
}

/// The socket of a line of /proc/net/tcp that listens on a port, as its handles are named.
fn listener(line: &str, port: u16) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, listens_on) = fields.get(1)?.rsplit_once(':')?;
    let same = u16::from_str_radix(listens_on, 16).ok()? == port && *fields.get(3)? == LISTENS;
    same.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
}

fn holds_any(pid: u32, sockets: &BTreeSet<String>) -> bool {
    let handles = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut named = handles.filter_map(|handle| fs::read_link(handle.path()).ok());
    named.any(|name| sockets.contains(name.to_string_lossy().as_ref()))
}

/// What processes use now, together; none: one of them is no more.
pub(crate) fn usage(pids: &[u32]) -> Option<Usage> {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64;
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096) as u64;
    let mut total = Usage::default();
    for pid in pids {
        let folder = Path::new("/proc").join(pid.to_string());
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        // The name in parentheses may hold anything; the numbers are after it, from the third on.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |at: usize| fields.get(at - 3).and_then(|field| field.parse::<u64>().ok());
        total.cpu_s += (number(14)? + number(15)?) as f64 / ticks;
        total.rss_bytes += number(24)? * page;
        total.handles += fs::read_dir(folder.join("fd")).map_or(0, |handles| handles.count() as u64);
    }
    (!pids.is_empty()).then_some(total)
}

/// The threads of this process.
pub(crate) fn threads() -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The time that threads of this process were on a core, in seconds; of those that are no more, nothing is known.
pub(crate) fn cpu_of_threads(threads: &BTreeSet<u32>) -> f64 {
    let nanoseconds = |thread: &u32| {
        let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    threads.iter().filter_map(nanoseconds).sum::<u64>() as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::{cpu_of_threads, listening_on, threads, usage};

    #[test]
    fn a_thread_of_our_own_is_found_and_used_something() {
        let before = threads();
        let (ready, wait) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            ready.send(()).expect("it is waited for");
            let _ = ended.recv();
        });
        wait.recv().expect("it runs");
        let ours = threads().difference(&before).copied().collect();
        assert!(cpu_of_threads(&ours) > 0.0, "{ours:?}");
        drop(end);
        thread.join().expect("it ended");
    }

    #[test]
    fn the_process_that_listens_is_found_and_uses_something() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let pids = listening_on(listener.local_addr().expect("an address").port());
        assert!(pids.contains(&std::process::id()), "{pids:?}");
        let usage = usage(&pids).expect("it lives");
        assert!(usage.rss_bytes > 0 && usage.handles > 2, "{usage:?}");
    }

    #[test]
    fn nobody_listens_on_a_port_that_is_free() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        assert_eq!(listening_on(port), Vec::<u32>::new());
        assert_eq!(usage(&[]), None);
    }
}
