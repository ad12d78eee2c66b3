//! Two nodes, judged: what they are to each other in a sentence, and what is wrong with that.

use super::{How, Node, Only, Pair, Relation};
use crate::finding::{Finding, Place, rec};

impl Pair {
    /// What they are to each other, in a sentence without an end.
    pub fn sentence(&self) -> String {
        let [one, two] = &self.nodes;
        let (first, second) = (one.named(), two.named());
        let at = self.fork.map_or(String::new(), |fork| {
            let before = if fork.how == How::ContentBefore { " or before" } else { "" };
            format!("{} of timeline {}{before}", one.lsn(fork.lsn), fork.timeline)
        });
        let has = |index: usize| {
            let (Some(node), Some(only)) = (self.nodes.get(index), self.only.get(index)) else {
                return String::new();
            };
            format!("only {} has {}", node.named(), only.said())
        };
        match self.relation() {
            Relation::Unknown => {
                format!(
                    "where {first} and {second} part is not known: the history of their timelines, or WAL, is missing"
                )
            }
            Relation::Same => format!("{first} and {second} have the same WAL, up to {at}"),
            Relation::Ahead(ahead) => {
                let behind = self.nodes.get(1 - ahead).map(Node::named).unwrap_or_default();
                format!("no split: {behind} only lacks WAL from {at} on; {}", has(ahead))
            }
            Relation::Diverged => format!("{first} and {second} parted at {at}: {}, {}", has(0), has(1)),
            Relation::SplitBrain => {
                format!("split brain: {first} and {second} both went on at {at}: {}, {}", has(0), has(1))
            }
        }
    }

    /// Both have what the other has not.
    pub fn parted(&self) -> Option<Finding> {
        if !matches!(self.relation(), Relation::Diverged | Relation::SplitBrain) {
            return None;
        }
        let [one, two] = &self.nodes;
        let mut finding = Finding::new(rec::PARTED, Place::path(one.root()), self.sentence());
        finding = finding.measured("the other", two.root().display());
        for (node, only) in self.nodes.iter().zip(&self.only) {
            let text = format!("{}: {}", node.root().display(), only.said());
            finding = finding.measured("only here", text);
        }
        Some(finding)
    }
}

impl Node {
    /// Its path in quotes.
    pub fn named(&self) -> String {
        format!("\"{}\"", self.root().display())
    }
}

impl Only {
    /// The commits in words.
    fn said(&self) -> String {
        let least = if self.commits.open_end.is_some() { "at least " } else { "" };
        match self.commits.commits {
            Some(1) => format!("{least}1 commit"),
            Some(commits) => format!("{least}{commits} commits"),
            None => "commits that cannot be counted".to_owned(),
        }
    }
}
