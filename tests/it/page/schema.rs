//! Whether a value is what a JSON schema of an OpenAPI 3.1 document says, as far as ours say things.

use serde_json::Value;

/// What is wrong with `value`, each with its place; a keyword that is not known here is wrong, too.
pub(super) fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check(document, schema, value, "$", &mut faults);
    faults
}

fn check(document: &Value, schema: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        let mut refuse = |why: String| faults.push(format!("{place}: {why}"));
        match keyword.as_str() {
            "description" | "format" | "propertyNames" | "title" => {}
            "$ref" => {
                let pointer = rule.as_str().expect("a reference").trim_start_matches('#');
                let target = document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} leads nowhere"));
                check(document, target, value, place, faults);
            }
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if !types.iter().any(|name| is_of(value, name.as_str().expect("a type"))) {
                    refuse(format!("{value} is no {rule}"));
                }
            }
            "enum" => {
                if !rule.as_array().expect("values").contains(value) {
                    refuse(format!("{value} is none of {rule}"));
                }
            }
            "minimum" => {
                if value.as_f64().zip(rule.as_f64()).is_some_and(|(value, least)| value < least) {
                    refuse(format!("{value} is less than {rule}"));
                }
            }
            "required" => {
                for name in rule.as_array().expect("names").iter().map(|name| name.as_str().expect("a name")) {
                    if value.get(name).is_none() {
                        refuse(format!("there is no `{name}`"));
                    }
                }
            }
            "properties" => {
                for (name, field) in value.as_object().into_iter().flatten() {
                    match rule.get(name) {
                        Some(schema) => check(document, schema, field, &format!("{place}.{name}"), faults),
                        None => faults.push(format!("{place}: nobody knows of `{name}`")),
                    }
                }
            }
            "additionalProperties" => {
                for (name, field) in value.as_object().into_iter().flatten().filter(|_| rule.is_object()) {
                    check(document, rule, field, &format!("{place}.{name}"), faults);
                }
            }
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, rule, item, &format!("{place}[{number}]"), faults);
                }
            }
            "oneOf" | "anyOf" => {
                let of = |schema: &Value| self::faults(document, schema, value);
                let schemas = rule.as_array().expect("schemas");
                if !schemas.iter().any(|schema| of(schema).is_empty()) {
                    refuse(format!("{value} is none of these: {:?}", schemas.iter().map(of).collect::<Vec<_>>()));
                }
            }
            other => refuse(format!("the keyword `{other}` is not checked")),
        }
    }
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no such type: {other}"),
    }
}
