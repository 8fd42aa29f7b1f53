//! The graph of a draft: who needs whom, who comes before whom, and whether anybody waits for itself.

use std::collections::BTreeMap;

use super::read::{Errors, StepParts, shown};

/// A set of indices of steps; a plan has at most 100.
type Set = u128;

/// The edges of a draft; unknown needs are left out.
pub(super) struct Graph<'a> {
    by_id: BTreeMap<&'a str, usize>,
    steps: Vec<Node<'a>>,
}

#[derive(Default)]
struct Node<'a> {
    id: &'a str,
    needs: Vec<Need>,
    ancestors: Set,
}

/// One edge.
#[derive(Clone, Copy)]
struct Need {
    /// The needed step.
    step: usize,
    /// Where the draft says so: `/steps/<n>/needs/<place>`.
    place: usize,
}

fn only(index: usize) -> Set {
    u32::try_from(index)
        .ok()
        .and_then(|index| Set::checked_shl(1, index))
        .unwrap_or(0)
}

impl<'a> Graph<'a> {
    /// Joins the steps, reporting duplicate ids, unknown needs and every cycle.
    pub(super) fn join(parts: &[StepParts<'a>], errors: &mut Errors) -> Self {
        let mut by_id = BTreeMap::new();
        for (index, step) in parts.iter().enumerate() {
            let Some(id) = step.id else { continue };
            if let Some(first) = by_id.get(id) {
                errors.add(
                    format!("{}/id", step.at),
                    "duplicate",
                    format!("`{id}` is already the id of /steps/{first}"),
                );
            } else {
                by_id.insert(id, index);
            }
        }
        let mut steps = Vec::with_capacity(parts.len());
        for step in parts {
            let mut needs = Vec::with_capacity(step.needs.len());
            for &(place, id) in &step.needs {
                match by_id.get(id) {
                    Some(&step) => needs.push(Need { step, place }),
                    None => errors.add(
                        format!("{}/needs/{place}", step.at),
                        "unknown_step",
                        format!("there is no step with the id {}", shown(id)),
                    ),
                }
            }
            steps.push(Node {
                id: step.id.unwrap_or_default(),
                needs,
                ancestors: 0,
            });
        }
        let mut graph = Self { by_id, steps };
        graph.report_cycles(errors);
        graph.spread_ancestors();
        graph
    }

    /// The step with this id.
    pub(super) fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// Whether `earlier` has ended before `later` starts.
    pub(super) fn is_before(&self, earlier: usize, later: usize) -> bool {
        self.steps
            .get(later)
            .is_some_and(|node| node.ancestors & only(earlier) != 0)
    }

    /// The steps that `index` needs, ascending.
    pub(super) fn needs_of(&self, index: usize) -> Vec<usize> {
        let mut needs: Vec<usize> = self
            .steps
            .get(index)
            .into_iter()
            .flat_map(|node| &node.needs)
            .map(|need| need.step)
            .collect();
        needs.sort_unstable();
        needs
    }

    /// Whether no step needs `index`.
    pub(super) fn is_sink(&self, index: usize) -> bool {
        self.steps
            .iter()
            .flat_map(|node| &node.needs)
            .all(|need| need.step != index)
    }

    /// Everything above the needs, until nothing changes: right for graphs with cycles too.
    fn spread_ancestors(&mut self) {
        loop {
            let before: Vec<Set> = self.steps.iter().map(|node| node.ancestors).collect();
            for node in &mut self.steps {
                for need in &node.needs {
                    node.ancestors |= only(need.step) | before.get(need.step).copied().unwrap_or(0);
                }
            }
            if self.steps.iter().map(|node| node.ancestors).eq(before) {
                return;
            }
        }
    }

    fn report_cycles(&self, errors: &mut Errors) {
        let mut done = 0;
        for index in 0..self.steps.len() {
            self.descend(index, &mut Vec::new(), &mut done, errors);
        }
    }

    /// Depth-first along `needs`; `path` is the way down to `index`. A need of a step on the path closes a cycle.
    fn descend(&self, index: usize, path: &mut Vec<usize>, done: &mut Set, errors: &mut Errors) {
        let Some(node) = self.steps.get(index) else { return };
        if *done & only(index) != 0 {
            return;
        }
        path.push(index);
        for need in &node.needs {
            let Some(begin) = path.iter().position(|&on_path| on_path == need.step) else {
                self.descend(need.step, path, done, errors);
                continue;
            };
            let members = path.iter().skip(begin).chain([&need.step]);
            let ids: Vec<&str> = members
                .filter_map(|&member| self.steps.get(member))
                .map(|node| node.id)
                .collect();
            errors.add(
                format!("/steps/{index}/needs/{}", need.place),
                "cycle",
                format!(
                    "these steps would wait for each other for ever, each needing the next: {}",
                    ids.join(" → ")
                ),
            );
        }
        path.pop();
        *done |= only(index);
    }
}
