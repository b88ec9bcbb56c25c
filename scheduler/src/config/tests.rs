//! The configuration as people write it.

use std::time::Duration;

use headgate_ledger::{Change, Lifecycle, Name, OnExceed, Pool, QueueLimit, Source, TenantPath};

use super::{
    ClassShape, Config, ConfigShape, EMBEDDED, EMBEDDED_CLASSES, PoolShape, Store, TenantChange, TenantShape, check,
    read_yaml, schema, write_yaml,
};

/// The configuration of the documentation, whole.
const WHOLE: &str = r#"
listen: {grpc: 127.0.0.1:7070, http: 127.0.0.1:7080, webhook: 127.0.0.1:7443}
tls: {cert: cert.pem, key: key.pem, client_ca: ca.pem}
auth:
  anonymous: loopback
  callers:
    - {match: {san: "spiffe://acme/ci/*"}, may: [check, acquire], tenants: [acme/ci], max_priority: 100}
    - {match: {token_file: /run/token}, may: [acquire], tenants: [acme/ml]}
    - {match: {jwt: {issuer: i, audience: a, jwks: j, claim: groups, value: platform}}, may: [admin], tenants: ["*"]}
store: {kind: file, path: ./headgate-data}
durability: journaled
on_store_failure: stop
remember: 1h
lifecycles: {active: 1, maintenance: 0.5, suspended: 0.1, archived: 0}
storage_resources: [storage, requests.storage]
log: {level: info, format: text}
pools:
  - name: default
    cell: main
    capacity: {cpu: 64, memory: 256Gi, jobs: 1000}
    implied: {jobs: 1}
    order: backfill
    share_of: borrowed
    half_life: 0s
    age_step: 10m
    hold_after: 5m
    hold_for: 1h
    max_wait: 24h
    max_queued: 100000
    max_queued_per_tenant: 10%
    reclaim: true
    grace: 30s
    min_runtime: 0s
    lease_ttl: 60s
    confirm_within: 60s
    ticket_ttl: 0s
    overcommit: false
    enforce: deny
    paused: false
classes:
  SMALL: {guaranteed: {cpu: 2, memory: 4Gi}, limit: {cpu: 4, memory: 8Gi}}
tenants:
  - name: acme
    kind: organization
    weight: 2
    lifecycle: active
    quota:
      default:
        guaranteed: {cpu: 16, memory: 64Gi}
        limit: {cpu: 32}
        lendable: {cpu: 8}
        burst: {for: 30m, cooldown: 10m}
        enforce: warn
    budgets:
      - {name: monthly-jobs, resource: jobs, amount: 10000, period: month, time_zone: UTC, on_exceed: deny}
    rates:
      - {name: starts, resource: jobs, amount: 10, per: 1s, burst: 50, on_exceed: queue}
    max_priority: 100
    members:
      kind: user
      class: SMALL
      max: 1000
      keep: 1h
      rates: [{name: each, resource: jobs, amount: 2}]
    tenants:
      - {name: ml, kind: team, quota: {default: {class: SMALL}}}
"#;

fn refused(text: &str) -> String {
    Config::parse("f", text).expect_err(text).to_string()
}

#[test]
fn the_documented_configuration_is_read() {
    let config = Config::parse("f", WHOLE).unwrap_or_else(|problems| panic!("{problems}"));
    let [pool] = &config.objects.pools[..] else { panic!("one pool") };
    // What is written out there is the default.
    let mut default = Pool::new(Name::parse("default").expect("a name"));
    (default.capacity, default.implied) = (pool.capacity.clone(), pool.implied.clone());
    assert_eq!(*pool, default);
    assert_eq!(
        (pool.capacity.get("cpu"), pool.capacity.get("memory"), pool.implied.get("jobs")),
        (Some(64_000), Some(256 << 30), Some(1))
    );
    let paths: Vec<_> = config.objects.tenants.iter().map(|tenant| tenant.path.as_str()).collect();
    assert_eq!(paths, ["acme", "acme/ml"]);
    let acme = &config.objects.tenants[0];
    assert_eq!((acme.weight, acme.lifecycle, acme.max_priority), (2000, Lifecycle::Active, Some(100)));
    assert_eq!(acme.budgets[0].on_exceed, OnExceed::Deny);
    let [starts] = &acme.rates[..] else { panic!("one rate") };
    assert_eq!((starts.amount, starts.per, starts.burst), (10, Duration::from_secs(1), 50));
    assert_eq!(starts.on_exceed, OnExceed::Queue);
    let [each] = &acme.members.as_ref().expect("members").rates[..] else { panic!("one rate of theirs") };
    assert_eq!((each.per, each.burst, each.on_exceed), (Duration::from_secs(1), 2, OnExceed::Deny), "the defaults");
    let quota = acme.quota("default").expect("a quota");
    assert_eq!(quota.limit.as_ref().and_then(|limit| limit.get("memory")), None, "absent is none said");
    let kinds: Vec<_> = config
        .to_changes()
        .iter()
        .map(|change| match change {
            Change::Settings(_) => "settings".to_owned(),
            Change::PutPool(pool) => format!("pool {}", pool.name),
            Change::PutClass(class) => format!("class {}", class.name),
            Change::PutTenant(tenant) => format!("tenant {}", tenant.path),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["settings", "pool default", "class SMALL", "tenant acme", "tenant acme/ml"]);
}

#[test]
fn what_is_not_said_is_the_default() {
    let config = Config::parse("f", "").expect("an empty file");
    assert_eq!(config.store, Store::File { path: "./headgate-data".into() });
    assert_eq!(config.listen.surfaces().map(|(name, _)| name).collect::<Vec<_>>(), ["grpc", "http"]);
    assert_eq!(config.objects.settings, headgate_ledger::Settings::default());
    let config =
        Config::parse("f", "listen: {http: '[::1]:80'}\npools: [{name: p}]\ntenants: [{name: a, quota: {p: {}}}]")
            .expect("a file");
    assert_eq!(config.listen.surfaces().map(|(name, _)| name).collect::<Vec<_>>(), ["http"]);
    assert_eq!(config.objects.pools[0].implied.get("jobs"), Some(1), "a job is implied");
    assert_eq!(config.objects.pools[0].max_queued_per_tenant, QueueLimit::Part(10_000));
    assert!(config.objects.tenants[0].quota("p").expect("a quota").guaranteed.is_none());
    let nothing = Config::parse("f", "pools: [{name: p, implied: {}}]").expect("a file");
    assert!(nothing.objects.pools[0].implied.is_empty(), "nothing said is not the same as nothing");
}

#[test]
fn errors_name_the_place_and_what_would_help() {
    let mut wrong = Vec::new();
    for (text, expected) in [
        ("pool: []", "f:1:1: unknown key \"pool\": did you mean \"pools\"?"),
        ("pools:\n  - name: p\n    capasity: {cpu: 1}", "f:3:5: unknown key \"capasity\": did you mean \"capacity\"?"),
        ("pools: [{capacity: {cpu: 1}}]", "f:1:10: key \"name\" is missing: it must be said here"),
        (
            "pools:\n  - name: Default",
            "f:2:11: name \"Default\" is not 1 to 63 of a-z, 0-9 and -, with a letter or digit at both ends",
        ),
        ("pools: [{name: p}, {name: p}]", "f:1:27: pool p is given twice"),
        (
            "pools:\n  - name: p\n    capacity:\n      memory: 16GB\n      cpu: 4",
            "f:4:15: amount \"16GB\" of memory has the unknown suffix \"GB\": did you mean G or Gi?",
        ),
        (
            "pools: [{name: p, capacity: {memory: -5}}]",
            "f:1:38: amount \"-5\" of memory is negative: an amount is zero or more",
        ),
        ("pools: [{name: p, grace: 30}]", "f:1:26: duration \"30\" has no unit: did you mean 30s?"),
        ("pools: [{name: p, order: stric}]", "f:1:26: unknown word \"stric\": did you mean \"strict\"?"),
        (
            "pools: [{name: p, max_queued_per_tenant: 200%}]",
            "f:1:42: \"200%\" is more than the whole that it is a part of: 100% is the most",
        ),
        ("pools: [{name: p, max_queued: -1}]", "f:1:31: a whole number from 0 to 4294967295 is expected"),
        ("pools: [{name: p, capacity: {cpu: 1, cpu: 2}}]", "f:1:38: key \"cpu\" is given twice"),
        (
            "pools: [{name: p, capacity: {'a b': 1}}]",
            "f:1:30: resource \"a b\" is not 1 to 128 letters, digits and any of - . _ / :",
        ),
        (
            "tenants: [{name: a, weight: -1}]",
            "f:1:29: weight \"-1\" is no number from 0 to 1000000 with up to 3 decimals, such as 1 or 0.5",
        ),
        (
            "tenants: [{name: a, max_priority: 2000000000}]",
            "f:1:35: priority \"2000000000\" is no whole number from -1000000000 to 1000000000",
        ),
        (
            "tenants: [{name: a, quota: {default: {class: s p}}}]",
            "f:1:46: name \"s p\" is not 1 to 63 of a-z, 0-9 and -, with a letter or digit at both ends",
        ),
        (
            "tenants: [{name: a, quota: {default: }}]",
            "f:1:36: a mapping of keys is expected, such as {name: …}; {} is an empty one",
        ),
        ("tenants: [{name: a, tenants: [{name: b}, {name: b}]}]", "f:1:49: tenant b is given twice under a"),
        ("tenants: [{name: a}, {name: a}]", "f:1:29: tenant a is given twice at the top"),
        (
            "tenants: [{name: a, budgets: [{name: m, resource: jobs, amount: 1.5, period: month}]}]",
            "f:1:65: amount \"1.5\" of jobs is not whole: it is counted in whole units",
        ),
        (
            "tenants: [{name: a, budgets: [{name: m, resource: jobs, amount: 1, period: mont}]}]",
            "f:1:76: unknown word \"mont\": did you mean \"month\"?",
        ),
        (
            "tenants: [{name: a, budgets: [{name: m, resource: jobs, amount: 1, period: day, time_zone: Europe/Berln}]}]",
            "f:1:92: there is no time zone \"Europe/Berln\": use a name of the tz database, such as UTC or Europe/Berlin",
        ),
        (
            "tenants: [{name: a, rates: [{name: m, resource: cpu, amount: 1, per: 1}]}]",
            "f:1:70: duration \"1\" has no unit: did you mean 1s?",
        ),
        (
            "tenants: [{name: a, rates: [{name: m, resource: r, amount: 1.5}]}]",
            "f:1:60: amount \"1.5\" of r is not whole: it is counted in whole units",
        ),
        (
            "tenants: [{name: a, rates: [{name: m, resource: r, amount: 1}, {name: m, resource: r, amount: 1}]}]",
            "f:1:71: rate m is given twice",
        ),
        (
            "tenants: [{name: a, members: {rates: [{name: m, resource: r, amount: 1, bursts: 1}]}}]",
            "f:1:73: unknown key \"bursts\": did you mean \"burst\"?",
        ),
        (
            "rate_limit_service: [{domain: d, descriptors: []}, {domain: d, descriptors: []}]",
            "f:1:61: domain d is given twice",
        ),
        (
            "rate_limit_service: [{domain: d, descriptors: [{match: {}, tenant: a}]}]",
            "f:1:48: it matches 0 keys: name 1 to 32",
        ),
        (
            "rate_limit_service: [{domain: d, descriptors: [{match: {p: x}, tenant: \"a/${q}\"}]}]",
            "f:1:72: the tenant names the value of \"q\", which is not under match",
        ),
        (
            "rate_limit_service: [{domain: d, descriptors: [{match: {p: x}, tenant: \"a/x-${p}\"}]}]",
            "f:1:72: name \"x-${p}\" is not 1 to 63 of a-z, 0-9 and -, with a letter or digit at both ends; a value \
             stands for a whole level: acme/${user}",
        ),
        (
            "rate_limit_service: [{domain: d, descriptors: [{match: {p: \"*\"}, tenant: a}, {match: {p: x}, tenant: b}]}]",
            "f:1:78: an earlier descriptor matches all that this one does: put this one before it",
        ),
        (
            "rate_limit_service: [{domain: d, descriptors: [{match: {p: x}, tenant: a, ressource: r}]}]",
            "f:1:75: unknown key \"ressource\": did you mean \"resource\"?",
        ),
        (
            "tenants: [{name: a, budgets: [{name: m, resource: r, amount: 1, period: day}, {name: m, resource: r, amount: 1, period: day}]}]",
            "f:1:86: budget m is given twice",
        ),
        (
            "lifecycles: {active: 1.5}",
            "f:1:22: part \"1.5\" is no number from 0 to 1 with up to 6 decimals, such as 0.5",
        ),
        (
            "classes: {a: {class: b}}",
            "f:1:15: unknown key \"class\": one of guaranteed, limit, lendable, burst, enforce may stand here",
        ),
        ("remember: 200000d", "f:1:11: duration \"200000d\" is more than a hundred years, the longest that is meant"),
        (
            "listen: {grpc: localhost}",
            "f:1:16: address \"localhost\" is none: write an IP address and a port, such as 127.0.0.1:7070 or [::1]:7070",
        ),
        (
            "listen: {grpc: 0.0.0.0:7070}",
            "f: grpc listens on 0.0.0.0:7070, beyond loopback, without tls, and auth with callers: add it, or listen on 127.0.0.1",
        ),
        (
            "listen: {grpc: '127.0.0.1:7070', http: '127.0.0.1:7070'}",
            "f: grpc and http both listen on 127.0.0.1:7070: give each a port of its own",
        ),
        ("store: {kind: memry}", "f:1:15: unknown word \"memry\": did you mean \"memory\"?"),
        ("store: {kind: memory, path: x}", "f:1:29: a memory store has no path: leave it out"),
        ("store: {kind: file, url: x}", "f:1:26: a file store has no url: only one of kind redis has"),
        ("store: {kind: redis}", "f:1:8: a redis store needs its url, such as redis://127.0.0.1:6379"),
        (
            "store: {kind: redis, url: 'http://x'}",
            "f:1:27: the url of a redis store starts with redis:// or, over TLS, rediss://",
        ),
        (
            "auth: {callers: [{match: {sann: x}, may: [check], tenants: ['*']}]}",
            "f:1:27: unknown word \"sann\": did you mean \"san\"?",
        ),
        (
            "auth: {callers: [{match: {san: x}, may: [check], tenants: ['*']}]}",
            "f:1:18: a san is read from a caller's certificate: set tls with client_ca, or match by token",
        ),
        (
            "auth: {callers: [{match: {token_file: x}, may: [], tenants: ['*']}]}",
            "f:1:18: this caller may do nothing: name one of check, acquire, admin, or leave it out",
        ),
        (
            "auth: {callers: [{match: {token_file: x}, may: [chek], tenants: ['*']}]}",
            "f:1:49: unknown word \"chek\": did you mean \"check\"?",
        ),
    ] {
        let told = refused(text);
        if told != expected {
            wrong.push(format!("{text}\n  told:     {told}\n  expected: {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn independent_problems_are_all_told_in_the_order_of_the_file() {
    let text = "pools: [{name: p}, {name: p}]\ntenants:\n  - {name: a}\n  - {name: a}\n  - {name: b, budgets: [{name: x, resource: r, amount: y, period: day}]}\n";
    let told = refused(text);
    let places: Vec<_> = told.lines().map(|line| line.split(": ").next().unwrap_or("")).collect();
    assert_eq!(places, ["f:1:27", "f:4:12", "f:5:56"]);
}

#[test]
fn a_tree_may_be_as_deep_as_paths_may() {
    let nested = |levels: usize| {
        let (open, close) = ("tenants: [{name: a, ".repeat(levels), "}]".repeat(levels));
        format!("{open}kind: x{close}")
    };
    let config = Config::parse("f", &nested(8)).expect("eight levels");
    assert_eq!(config.objects.tenants.last().map(|tenant| tenant.path.as_str()), Some("a/a/a/a/a/a/a/a"));
    assert!(refused(&nested(9)).contains("more than 8 levels"));
}

#[test]
fn amounts_are_read_from_the_text_whatever_yaml_makes_of_it() {
    let text = "pools: [{name: p, capacity: {cpu: 0.1, a: 1e3, b: '7', c: 010, d: 1.0, memory: 1152921504606846976}}]";
    let config = Config::parse("f", text).expect("a file");
    let amounts: Vec<_> =
        config.objects.pools[0].capacity.iter().map(|(name, amount)| (name.as_str(), amount)).collect();
    assert_eq!(amounts, [("a", 1000), ("b", 7), ("c", 10), ("cpu", 100), ("d", 1), ("memory", 1 << 60)]);
}

#[test]
fn shapes_convert_there_and_back() {
    let config = Config::parse("f", WHOLE).expect("a file");
    let pool = &config.objects.pools[0];
    let yaml = write_yaml(&PoolShape::from(pool)).expect("YAML");
    for line in
        ["name: default", "  cpu: 64", "  memory: 256Gi", "hold_for: 1h", "max_queued_per_tenant: 10%", "paused: false"]
    {
        assert!(yaml.lines().any(|found| found == line), "{line} in\n{yaml}");
    }
    let shape: PoolShape = read_yaml("back", &yaml).unwrap_or_else(|problems| panic!("{problems}\n{yaml}"));
    assert_eq!(shape.over(Pool::new(pool.name.clone())), *pool);

    let class = &config.objects.classes[0];
    let json = serde_json::to_string(&ClassShape::from(class)).expect("JSON");
    assert_eq!(json, r#"{"guaranteed":{"cpu":2,"memory":"4Gi"},"limit":{"cpu":4,"memory":"8Gi"}}"#);
    let shape: ClassShape = serde_json::from_str(&json).expect("a class");
    assert_eq!(shape.into_class(class.name.clone(), Source::File), *class);

    for tenant in &config.objects.tenants {
        let yaml = write_yaml(&TenantChange::from(tenant)).expect("YAML");
        let change: TenantChange = read_yaml("back", &yaml).unwrap_or_else(|problems| panic!("{problems}\n{yaml}"));
        let back = change.over(headgate_ledger::Tenant::new(tenant.path.clone())).expect("a tenant");
        assert_eq!(back, *tenant);
    }
}

#[test]
fn the_tree_is_written_as_it_was_read() {
    for text in [WHOLE, EMBEDDED] {
        let config = Config::parse("f", text).expect("a file");
        let written = ConfigShape { tenants: TenantShape::tree(&config.objects.tenants), ..ConfigShape::default() };
        let yaml = write_yaml(&written).expect("YAML");
        let back = Config::parse("back", &yaml).unwrap_or_else(|problems| panic!("{problems}\n{yaml}"));
        let by_path = |config: &Config| {
            let mut tenants = config.objects.tenants.clone();
            tenants.sort_by(|a, b| a.path.cmp(&b.path));
            tenants
        };
        assert_eq!(by_path(&back), by_path(&config));
    }
}

#[test]
fn a_change_changes_what_it_names() {
    let config = Config::parse("f", WHOLE).expect("a file");
    let acme = config.objects.tenants[0].clone();
    let change: TenantChange =
        read_yaml("f", "{path: acme, weight: 0.5, quota: {gpu: {}, default: {limit: {cpu: 1}}}}").expect("a change");
    let changed = change.over(acme.clone()).expect("a tenant");
    assert_eq!((changed.weight, &changed.kind, &changed.budgets), (500, &acme.kind, &acme.budgets));
    assert_eq!(changed.quotas.iter().map(|(pool, _)| pool.as_str()).collect::<Vec<_>>(), ["default", "gpu"]);
    assert!(changed.quota("default").expect("a quota").guaranteed.is_none(), "a pool's quota is replaced whole");
    assert_eq!(changed.path, TenantPath::parse("acme").expect("a path"));
}

#[test]
fn the_embedded_files_are_good() {
    let config = Config::embedded().unwrap_or_else(|problems| panic!("{problems}"));
    assert!(config.objects.tenants.iter().any(|tenant| tenant.path.as_str() == "acme/ml"));
    assert!(config.objects.tenants.iter().any(|tenant| tenant.members.is_some()));
    let classes = Config::parse("classes.yaml", EMBEDDED_CLASSES).unwrap_or_else(|problems| panic!("{problems}"));
    let names: Vec<_> = classes.objects.classes.iter().map(|class| class.name.as_str()).collect();
    assert_eq!(names, ["LARGE", "MEDIUM", "SMALL", "STARTER", "XLARGE"]);
    let starter = &classes.objects.classes[3].quota;
    assert_eq!(starter.limit.as_ref().and_then(|limit| limit.get("cpu")), Some(headgate_ledger::Level::Units(1500)));
    let gateway = check("gateway.yaml", include_str!("../../../deploy/examples/gateway.yaml"));
    assert_eq!((gateway.errors, gateway.warnings), (vec![], vec![]));
}

#[test]
fn the_schema_names_every_key_and_describes_it() {
    let schema = schema();
    let text = schema.to_string();
    for key in
        ["listen", "on_store_failure", "max_queued_per_tenant", "lendable", "cooldown", "on_exceed", "token_file"]
    {
        assert!(text.contains(&format!("\"{key}\"")), "{key}");
    }
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["$defs"]["Tenant"]["properties"]["tenants"]["items"]["$ref"], "#/$defs/Tenant");
    assert_eq!(schema["$defs"]["Pool"]["required"], serde_json::json!(["name"]));
}

#[test]
fn a_check_tells_errors_and_what_is_hardly_meant() {
    let good = check("headgate.yaml", EMBEDDED);
    assert_eq!(good.for_people(), "headgate.yaml: 0 errors, 0 warnings\n");
    assert_eq!(good.exit_status(), 0);

    let text = "\
pools:
  - {name: default, capacity: {cpu: 10}}
  - {name: spare, paused: true}
classes:
  BIG: {guaranteed: {cpu: 8}}
  NEVER: {}
tenants:
  - {name: a, quota: {default: {class: BIG}}}
  - {name: b, quota: {default: {class: BIG}}}
  - {name: c, kind: team, tenants: [{name: d}]}
";
    let checked = check("f", text);
    assert_eq!(checked.exit_status(), 0);
    for (span, errors) in [("0s", 0), ("1ms", 1), ("999ms", 1), ("1s", 0)] {
        let turns = check("f", &text.replace("name: spare,", &format!("name: spare, hold_for: {span},")));
        assert_eq!(turns.errors.len(), errors, "{span}: {:?}", turns.errors);
        for error in turns.errors {
            let told = error.in_file("f").to_string();
            assert!(told.starts_with("f:3:12: pool spare: hold_for is shorter than a second"), "{told}");
        }
    }
    assert_eq!(
        checked.for_people(),
        "\
warning: f:2:12: pool default: its tenants are guaranteed 16000 of cpu, more than its capacity of 10000
warning: f:3:12: pool spare: it has no capacity: nobody is guaranteed anything, and only limits bound
warning: f:3:12: pool spare: it is paused: nothing is admitted until it is resumed
warning: f:3:12: pool spare: no tenant has a quota in it: nobody may use it
warning: f:6:10: class NEVER: no tenant names it
warning: f:10:12: tenant c: it has no quota in any pool, nor has one above it: it may use nothing
warning: f:10:44: tenant c/d: it has no quota in any pool, nor has one above it: it may use nothing
f: 0 errors, 7 warnings
"
    );

    let text = "\
pools: [{name: default, capacity: {cpu: 10}}]
tenants:
  - name: a
    quota: {default: {guaranteed: {cpu: 4}, limit: {cpu: 3}}}
    tenants: [{name: b, quota: {default: {class: none}}}]
";
    let checked = check("f", text);
    assert_eq!(checked.exit_status(), 1);
    assert_eq!(
        checked.for_people(),
        "\
error: f:3:11: tenant a: it is guaranteed 4000 of cpu in pool default, above its limit of 3000
error: f:5:22: tenant a/b: it names class none, which there is not
f: 2 errors, 0 warnings
"
    );
    assert_eq!(
        check("f", "pool: 1").for_people(),
        "error: f:1:1: unknown key \"pool\": did you mean \"pools\"?\nf: 1 error, 0 warnings\n"
    );
}
