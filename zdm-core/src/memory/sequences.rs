//! Sequences of a memory database, read live and set.

use async_trait::async_trait;

use super::MemoryDatabase;
use crate::connect::{SequenceValue, Sequences};
use crate::schema::Schema;
use crate::{Error, ErrorKind, Result};

#[async_trait]
impl Sequences for MemoryDatabase {
    async fn read(&self, schema: &Schema) -> Result<Vec<SequenceValue>> {
        let state = self.lock();
        let wanted = schema.sequences.iter().map(|sequence| &sequence.name);
        wanted
            .map(|name| {
                let found = state.sequences.get(name).ok_or_else(|| missing(name))?;
                Ok(found.value.clone())
            })
            .collect()
    }

    async fn set(&self, _: &Schema, values: &[SequenceValue], margin: u32) -> Result<()> {
        let mut state = self.lock();
        let mut next = state.sequences.clone();
        for value in values {
            let sequence = next.get_mut(&value.name).ok_or_else(|| missing(&value.name))?;
            let steps = i64::from(margin).checked_mul(value.increment);
            let last = steps.and_then(|steps| value.last.checked_add(steps));
            let last = last.filter(|last| *last <= sequence.end).ok_or_else(|| {
                Error::new(
                    ErrorKind::Rejected,
                    "the sequence would pass its end: make it longer, or the margin smaller",
                )
                .with("sequence", &value.name)
            })?;
            let ours = &mut sequence.value;
            if (last, value.called) > (ours.last, ours.called) {
                (ours.last, ours.called) = (last, value.called || margin > 0);
            }
        }
        state.sequences = next;
        Ok(())
    }
}

fn missing(name: &crate::schema::TableName) -> Error {
    Error::new(ErrorKind::NotFound, "there is no such sequence").with("sequence", name)
}
