//! Administration: apply, delete, pause, enforce.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use headgate_proto::v1;

use super::connect::ServerArgs;
use super::fault::Fault;
use super::get::lease_table;
use super::json::{self, word};
use super::output::Output;
use super::{DONE, Outcome};
use crate::config::Config;
use crate::grpc::{class_wire, pool_wire, tenant_wire};

/// What is applied.
#[derive(Debug, Args)]
#[command(after_help = "Of the file its pools, classes and tenants count: all of them are taken, or none.")]
pub(super) struct ApplyArgs {
    /// A configuration file
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Only say what would differ, and who would be reclaimed
    #[arg(long)]
    dry_run: bool,
    /// Remove what was applied before and is not in the file
    #[arg(long)]
    prune: bool,
    /// Where a tenant that is removed has leases or tickets: take nothing new, and remove it when it is empty
    #[arg(long, requires = "prune")]
    drain: bool,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// What is removed.
#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// tenant/PATH, pool/NAME or class/NAME
    #[arg(value_name = "KIND/NAME")]
    what: String,
    /// Where the tenant has leases or tickets: take nothing new, and remove it when it is empty
    #[arg(long)]
    drain: bool,
    /// Only say what would differ
    #[arg(long)]
    dry_run: bool,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// What is paused.
#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    /// The pool
    #[arg(value_name = "POOL", default_value = "default")]
    pool: String,
    /// Let it admit again
    #[arg(long)]
    resume: bool,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// What becomes of requests that would be queued or denied.
#[derive(Debug, Args)]
pub(super) struct EnforceArgs {
    /// What becomes of a request that would be queued or denied
    #[arg(value_enum)]
    how: Enforcing,
    /// The pool
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    pool: String,
    /// Only for this tenant's quota in the pool
    #[arg(short, long, value_name = "PATH", default_value = "")]
    tenant: String,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// How decisions are enforced.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Enforcing {
    /// It is queued or denied
    Deny,
    /// It is allowed, marked and counted, and the caller is told
    Warn,
    /// It is allowed, marked and counted
    Observe,
    /// As the pool does; of a pool, deny
    Default,
}

pub(super) async fn apply(args: ApplyArgs, server: &ServerArgs, out: Output) -> Outcome {
    let ApplyArgs { file, dry_run, prune, drain, reason } = args;
    let config = Config::load(&file).map_err(|problems| Fault::Failed(problems.to_string()))?;
    let pools = config.objects.pools.iter().map(|pool| {
        let mut wire = v1::Pool { resource_version: String::new(), ..pool_wire(pool, 0) };
        if wire.implied.is_empty() {
            // An empty map says nothing on the wire, and would imply what pools imply by default.
            let by_default = crate::config::implied_by_default();
            wire.implied = by_default.iter().map(|(name, _)| (name.to_string(), "0".to_owned())).collect();
        }
        wire
    });
    let classes = &config.objects.classes;
    let classes = classes.iter().map(|class| v1::Class { resource_version: String::new(), ..class_wire(class, 0) });
    let tenants = &config.objects.tenants;
    let tenants =
        tenants.iter().map(|tenant| v1::Tenant { resource_version: String::new(), ..tenant_wire(tenant, 0, false) });
    let message = v1::ApplyRequest {
        pools: pools.collect(),
        classes: classes.collect(),
        tenants: tenants.collect(),
        prune,
        drain,
        dry_run,
        source: v1::Source::Unspecified.into(),
        reason,
    };
    let server = server.server()?;
    let answer = server.answered(server.admin().apply(server.soon(message)).await)?;
    tell(answer.effect.unwrap_or_default(), dry_run, out)
}

pub(super) async fn delete(args: DeleteArgs, server: &ServerArgs, out: Output) -> Outcome {
    let DeleteArgs { what, drain, dry_run, reason } = args;
    let server = server.server()?;
    let mut admin = server.admin();
    let source = v1::Source::Unspecified.into();
    let (validate_only, resource_version) = (dry_run, String::new());
    let effect = match what.split_once('/') {
        Some(("tenant", path)) => {
            let path = path.to_owned();
            let message = v1::DeleteTenantRequest { path, resource_version, drain, validate_only, source, reason };
            server.answered(admin.delete_tenant(server.soon(message)).await)?.effect
        }
        Some((kind, _)) if drain => {
            return Err(Fault::Usage(format!("a {kind} is not drained: --drain goes with tenant/PATH")));
        }
        Some(("pool", name)) => {
            let name = name.to_owned();
            let message = v1::DeletePoolRequest { name, resource_version, validate_only, source, reason };
            server.answered(admin.delete_pool(server.soon(message)).await)?.effect
        }
        Some(("class", name)) => {
            let name = name.to_owned();
            let message = v1::DeleteClassRequest { name, resource_version, validate_only, source, reason };
            server.answered(admin.delete_class(server.soon(message)).await)?.effect
        }
        Some(_) | None => {
            return Err(Fault::Usage(format!("{what} cannot be deleted: name tenant/PATH, pool/NAME or class/NAME")));
        }
    };
    tell(effect.unwrap_or_default(), dry_run, out)
}

pub(super) async fn pause(args: PauseArgs, server: &ServerArgs, out: Output) -> Outcome {
    let PauseArgs { pool, resume, reason } = args;
    let server = server.server()?;
    let message = v1::SetPausedRequest { pool: pool.clone(), paused: !resume, reason };
    let answer = server.answered(server.admin().set_paused(server.soon(message)).await)?;
    let now = answer.pool.unwrap_or_default();
    out.print(
        || json::pool(&now),
        || match now.paused {
            true => format!("pool/{pool} is paused: nothing new is admitted, what runs stays\n"),
            false => format!("pool/{pool} admits again\n"),
        },
    )?;
    Ok(DONE)
}

pub(super) async fn enforce(args: EnforceArgs, server: &ServerArgs, out: Output) -> Outcome {
    let EnforceArgs { how, pool, tenant, reason } = args;
    let enforce = match how {
        Enforcing::Deny => v1::Enforce::Deny,
        Enforcing::Warn => v1::Enforce::Warn,
        Enforcing::Observe => v1::Enforce::Observe,
        Enforcing::Default => v1::Enforce::Unspecified,
    };
    let server = server.server()?;
    let message = v1::SetEnforceRequest { pool, tenant, enforce: enforce.into(), reason };
    let answer = server.answered(server.admin().set_enforce(server.soon(message)).await)?;
    tell(answer.effect.unwrap_or_default(), false, out)
}

/// Prints what a change did, or would do.
fn tell(effect: v1::Effect, dry_run: bool, out: Output) -> Outcome {
    out.print(|| json::effect(&effect), || effect_text(&effect, dry_run))?;
    Ok(DONE)
}

/// What a change does, a line for each object and one for each of its fields.
pub(super) fn effect_text(effect: &v1::Effect, dry_run: bool) -> String {
    let v1::Effect { differences, reclaimed, warnings } = effect;
    let mut text = String::new();
    // Writing to a string does not fail.
    for v1::Difference { object, kind, fields } in differences {
        let _ = writeln!(text, "{object}: {}", word!(DifferenceKind, *kind).unwrap_or("changed"));
        for v1::FieldDifference { field, before, after } in fields {
            let or_none = |value: &str| if value.is_empty() { "(not said)".to_owned() } else { value.to_owned() };
            let _ = writeln!(text, "  {field}: {} -> {}", or_none(before), or_none(after));
        }
    }
    if differences.is_empty() {
        text.push_str("nothing differs\n");
    }
    for warning in warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    if !reclaimed.is_empty() {
        text.push_str("\nthese would be reclaimed:\n");
        text.push_str(&lease_table(reclaimed));
    }
    if dry_run {
        text.push_str("nothing was changed: this was a dry run\n");
    }
    text
}
