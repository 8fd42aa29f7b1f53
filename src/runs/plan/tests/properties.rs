//! What holds for every draft: graphs without a cycle are plans, graphs with one are not, and nothing panics.

use std::collections::BTreeSet;

use proptest::{prelude::*, sample::Index};
use serde_json::{Map, Value, json};

use super::{check, plan, step};

/// A graph without cycles: each step with the steps it needs, and the order in which the draft lists them.
#[derive(Debug, Clone)]
struct Dag {
    needs: Vec<BTreeSet<usize>>,
    order: Vec<usize>,
}

impl Dag {
    fn draft(&self) -> Value {
        let steps = self.order.iter().map(|&node| {
            let needs: Vec<String> = self.needs[node].iter().map(|need| format!("s{need}")).collect();
            step(
                &format!("s{node}"),
                &needs.iter().map(String::as_str).collect::<Vec<_>>(),
                json!(node),
            )
        });
        plan(steps.collect::<Vec<_>>())
    }

    fn ancestors(&self, node: usize) -> BTreeSet<usize> {
        self.needs[node]
            .iter()
            .flat_map(|&need| self.ancestors(need).into_iter().chain([need]))
            .collect()
    }

    /// Where the draft has this step.
    fn place(&self, node: usize) -> usize {
        self.order.iter().position(|&listed| listed == node).unwrap()
    }
}

fn any_dag() -> impl Strategy<Value = Dag> {
    (1..14_usize).prop_flat_map(|size| {
        let edges = prop::collection::vec(prop::collection::vec(any::<Index>(), 0..4), size);
        let order = Just((0..size).collect::<Vec<_>>()).prop_shuffle();
        (edges, order).prop_map(|(edges, order)| Dag {
            needs: edges
                .iter()
                .enumerate()
                .map(|(node, needs)| needs.iter().filter(|_| node > 0).map(|need| need.index(node)).collect())
                .collect(),
            order,
        })
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "steps",
            "id",
            "skill",
            "params",
            "needs",
            "on_error",
            "retry",
            "attempts",
            "timeout_ms",
            "when",
            "a",
            "b",
            "json_transform",
            "http_call",
            "input",
            "expression",
            "url",
            "{{steps.a.output}}",
            "{{input.x}}",
            "{{",
            "steps.a.output",
            "abort",
            "@",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
        any::<String>(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(word.clone(), inner, 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Every place in a value, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, item)| places(item, &format!("{at}/{index}"), found)),
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, item)| places(item, &format!("{at}/{}", crate::problem::pointer_token(name)), found)),
        _ => {}
    }
}

/// An error points at something that is in the draft, or at a field missing from an object that is.
fn points_into(draft: &Value, pointer: &str) -> bool {
    let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
    draft.pointer(pointer).is_some() || draft.pointer(parent).is_some()
}

proptest! {
    #[test]
    fn a_graph_without_a_cycle_is_a_plan(dag in any_dag()) {
        let plan = check(&dag.draft()).unwrap();
        for step in plan.steps() {
            let node = dag.order[usize::from(step.index())];
            let mut needs: Vec<u16> = dag.needs[node].iter().map(|&need| dag.place(need) as u16).collect();
            needs.sort_unstable();
            prop_assert_eq!(step.needs(), needs);
            prop_assert_eq!(step.is_sink(), dag.needs.iter().all(|needs| !needs.contains(&node)));
        }
    }

    #[test]
    fn a_need_that_leads_back_is_a_cycle(dag in any_dag(), from: Index, to: Index) {
        let with_ancestors: Vec<usize> = (0..dag.needs.len()).filter(|&node| !dag.needs[node].is_empty()).collect();
        prop_assume!(!with_ancestors.is_empty());
        let later = with_ancestors[from.index(with_ancestors.len())];
        let ancestors: Vec<usize> = dag.ancestors(later).into_iter().collect();
        let mut cyclic = dag.clone();
        cyclic.needs[ancestors[to.index(ancestors.len())]].insert(later);
        let errors = check(&cyclic.draft()).unwrap_err();
        prop_assert!(errors.iter().all(|error| error.code == "cycle"), "{:#?}", errors);
    }

    #[test]
    fn a_step_may_name_its_ancestors_and_nobody_else(dag in any_dag(), namer: Index, named: Index, in_when: bool) {
        let (namer, named) = (namer.index(dag.needs.len()), named.index(dag.needs.len()));
        let mut draft = dag.draft();
        let step = &mut draft["steps"][dag.place(namer)];
        if in_when {
            step["when"] = json!(format!("steps.s{named}.status == 'failed'"));
        } else {
            step["params"]["input"] = json!([{"deep": format!("see {{{{ steps.s{named}.output.x }}}}")}]);
        }
        match check(&draft) {
            Ok(plan) => {
                prop_assert!(dag.ancestors(namer).contains(&named));
                prop_assert_eq!(plan.steps()[dag.place(namer)].refs(), [dag.place(named) as u16]);
            }
            Err(errors) => {
                prop_assert!(!dag.ancestors(namer).contains(&named));
                let code = if namer == named { "unknown_reference" } else { "missing_need" };
                prop_assert_eq!(errors.iter().map(|error| error.code.as_ref()).collect::<Vec<_>>(), [code]);
            }
        }
    }

    #[test]
    fn any_json_is_a_plan_or_is_refused_with_reasons(draft in any_json()) {
        if let Err(errors) = check(&draft) {
            prop_assert!(!errors.is_empty());
            prop_assert!(errors.iter().all(|error| points_into(&draft, &error.pointer)), "{:#?}", errors);
        }
    }

    #[test]
    fn any_json_anywhere_in_a_plan_is_part_of_it_or_is_refused(dag in any_dag(), place: Index, value in any_json()) {
        let mut draft = dag.draft();
        draft["steps"][0]["retry"] = json!({"attempts": 2});
        draft["steps"][0]["when"] = json!("input.x");
        let mut all = Vec::new();
        places(&draft, "", &mut all);
        *draft.pointer_mut(&all[place.index(all.len())]).unwrap() = value;
        match check(&draft) {
            Ok(plan) => {
                let again = check(&serde_json::to_value(plan.draft()).unwrap());
                prop_assert_eq!(again.as_ref(), Ok(&plan));
                prop_assert_eq!(super::Plan::from_stored(serde_json::to_value(&plan).unwrap()).unwrap(), plan);
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                prop_assert!(errors.iter().all(|error| points_into(&draft, &error.pointer)), "{:#?}", errors);
            }
        }
    }
}
