//! Memory, by how many leases are held.

use std::collections::BTreeMap;

use super::found::Found;
use super::record::{Row, Value};
use super::servers::Kind;
use super::session::Session;
use crate::outcome::Outcome;
use crate::outcome::text::count;

/// How many are held.
const HELD: [u64; 5] = [1_000, 100_000, 250_000, 500_000, 1_000_000];
/// Of how many it is measured briefly.
const HELD_QUICK: usize = 2;
/// The file that says what is held, as it is shown.
const FILE: &str = "held.yaml";

/// So many leases that are held, and renewed now and then.
pub(crate) fn scenario(held: u64) -> String {
    format!(
        "scenario: held\npool: {{capacity: {{cpu: 10000000}}}}\ntenants: [{{path: loadtest/t, count: 100, limit: {{cpu: \
         100000}}}}]\nmix: {{renew: 1}}\nsizes: {{cpu: 1}}\npopulation: {held}\n"
    )
}

pub(crate) async fn memory(session: &Session, found: &mut Found) {
    let held = if session.quick { &HELD[..HELD_QUICK] } else { &HELD };
    let mut least = None;
    for held in held {
        // A server of its own: an allocator gives back little of what was used before.
        let Some(server) = found.server(session, Kind::Memory).await else { return };
        let path = session.folder.join(FILE);
        let written =
            std::fs::write(&path, scenario(*held)).map_err(|error| format!("{FILE} cannot be written: {error}"));
        let (Some(()), Some(file)) = (found.noted(written), path.to_str()) else { return };
        let target = format!("stream+http://{}?in-flight=1024&batch=64", server.address);
        let run = ["run", &target, "--setup", "--scenario", file, "--duration", "1s", "--warm-up", "1s"];
        let came = session.loadtest::<Outcome>(&run, &[&server]).await;
        server.end().await;
        let Some((of, shown)) = found.came(came) else { continue };
        let resident = of.runs.first().and_then(|run| run.server.as_ref()).map(|server| server.rss_bytes);
        let Some(resident) = resident else {
            found.skipped.push("what a server uses could not be read from /proc".to_owned());
            return;
        };
        let mut figures = BTreeMap::from([
            ("resident".to_owned(), Value::exact(resident as f64)),
            ("held".to_owned(), Value::exact(*held as f64)),
        ]);
        let (fewer, before) = *least.get_or_insert((*held, resident));
        if *held > fewer {
            let each = resident.saturating_sub(before) as f64 / (held - fewer) as f64;
            figures.insert("each".to_owned(), Value::exact(each));
        }
        let command = shown
            .into_iter()
            .map(|line| line.replace(file, FILE))
            .chain([format!("# {FILE}: population: {held}")])
            .collect();
        found.rows.push(Row { what: count(*held as f64), command, is_ratio: false, figures });
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{HELD, scenario};
    use crate::scenario::Scenario;

    #[test]
    fn what_is_held_is_a_scenario() {
        for held in HELD {
            let read = Scenario::parse("held.yaml", &scenario(held), Path::new(".")).expect("it is one");
            assert_eq!((read.population, read.foreign()), (held, None));
        }
    }
}
