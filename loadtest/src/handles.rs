//! How many connections this process may have: each is a handle, and the system gives a process so many.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::fault::Fault;

/// Handles that are opened beside those of connections, such as files and events: more than there are.
const BESIDE: u64 = 128;

/// Makes sure that so many connections can be opened at once; the limit is raised as far as it may be.
pub(crate) fn allow(connections: usize) -> Result<(), Fault> {
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |handles| handles.count() as u64);
    let wanted = connections as u64 + open + BESIDE;
    let refuse = |may: u64| {
        let fits = may.saturating_sub(open + BESIDE);
        Err(Fault::Usage(format!(
            "{connections} connections take {wanted} handles, and this process may have {may}: raise that (ulimit -Hn \
             {wanted}), or use no more than {fits} connections"
        )))
    };
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    if soft >= wanted {
        return Ok(());
    }
    if hard < wanted || setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_err() {
        return refuse(if hard < wanted { hard } else { soft });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::allow;

    #[test]
    fn a_few_are_allowed_and_more_than_any_system_gives_are_not() {
        assert_eq!(allow(1), Ok(()));
        let refused = allow(usize::MAX >> 8).expect_err("nobody has so many").to_string();
        assert!(refused.contains("or use no more than "), "{refused}");
    }
}
