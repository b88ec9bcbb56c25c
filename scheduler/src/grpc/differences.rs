//! How objects of a configuration differ, field by field, in the words of a configuration file.

use std::collections::BTreeMap;

use headgate_ledger::{Class, Pool, Tenant};
use headgate_proto::v1;
use serde_json::Value;

use crate::config::{ClassShape, PoolShape, TenantChange};

/// An object of the configuration, by its kind and name, as text by the paths of its fields.
pub(super) type Fields = BTreeMap<String, String>;

pub(super) fn pool_fields(pool: &Pool) -> Fields {
    fields(&PoolShape::from(pool))
}

pub(super) fn class_fields(class: &Class) -> Fields {
    fields(&ClassShape::from(class))
}

pub(super) fn tenant_fields(tenant: &Tenant) -> Fields {
    let mut fields = fields(&TenantChange::from(tenant));
    fields.remove("path");
    if tenant.draining {
        fields.insert("draining".to_owned(), "true".to_owned());
    }
    fields
}

fn fields(shape: &impl serde::Serialize) -> Fields {
    let mut fields = Fields::new();
    // A shape is made of words, numbers and maps by names: all of that is JSON.
    flatten(&serde_json::to_value(shape).unwrap_or_default(), String::new(), &mut fields);
    fields
}

fn flatten(value: &Value, path: String, fields: &mut Fields) {
    let under = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                flatten(value, under(name), fields);
            }
        }
        Value::Array(values) => {
            for (n, value) in values.iter().enumerate() {
                // What has a name is told by it: its place in the list means nothing.
                let name = value.get("name").and_then(Value::as_str).map_or_else(|| n.to_string(), str::to_owned);
                flatten(value, under(&name), fields);
            }
        }
        Value::String(text) => drop(fields.insert(path, text.clone())),
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) => drop(fields.insert(path, value.to_string())),
    }
}

/// How an object differs from before; none where it does not.
pub(super) fn difference(object: String, before: Option<Fields>, after: Option<Fields>) -> Option<v1::Difference> {
    let kind = match (&before, &after) {
        (None, None) => return None,
        (None, Some(_)) => v1::DifferenceKind::Made,
        (Some(_), None) => v1::DifferenceKind::Removed,
        (Some(before), Some(after)) => {
            let drains = |fields: &Fields| fields.contains_key("draining");
            if !drains(before) && drains(after) { v1::DifferenceKind::Drained } else { v1::DifferenceKind::Changed }
        }
    };
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let text = |fields: &Fields, name: &str| fields.get(name).cloned().unwrap_or_default();
    let fields: Vec<_> = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| v1::FieldDifference { field: name.clone(), before: text(&before, name), after: text(&after, name) })
        .collect();
    if fields.is_empty() && kind == v1::DifferenceKind::Changed {
        return None;
    }
    Some(v1::Difference { object, kind: kind.into(), fields })
}

#[cfg(test)]
mod tests {
    use headgate_ledger::{Level, Levels, Name, Quota, Resource, Tenant, TenantPath};
    use headgate_proto::v1::DifferenceKind;

    use super::{difference, tenant_fields};

    fn tenant(cpu: u64) -> Tenant {
        let limit = Levels::new([(Resource::parse("cpu").expect("a name"), Level::Units(cpu))]).expect("levels");
        let quota = Quota { limit: Some(limit), ..Quota::default() };
        let pool = Name::parse("default").expect("a name");
        let path = TenantPath::parse("acme/ml").expect("a path");
        Tenant { quotas: vec![(pool, quota)], ..Tenant::new(path) }
    }

    #[test]
    fn what_differs_is_told_by_its_path_in_a_files_words() {
        let (before, after) = (tenant_fields(&tenant(1000)), tenant_fields(&tenant(1500)));
        let told = difference("tenant/acme/ml".to_owned(), Some(before.clone()), Some(after)).expect("a difference");
        let [field] = &told.fields[..] else { panic!("{told:?}") };
        assert_eq!(told.kind(), DifferenceKind::Changed);
        assert_eq!((&field.field[..], &field.before[..], &field.after[..]), ("quota.default.limit.cpu", "1", "1500m"));
        assert_eq!(difference("t".to_owned(), Some(before.clone()), Some(before.clone())), None);
        let drained = Tenant { draining: true, ..tenant(1000) };
        let told = difference("t".to_owned(), Some(before.clone()), Some(tenant_fields(&drained))).expect("told");
        assert_eq!(told.kind(), DifferenceKind::Drained);
        assert_eq!(difference("t".to_owned(), None, Some(before)).expect("told").kind(), DifferenceKind::Made);
    }
}
