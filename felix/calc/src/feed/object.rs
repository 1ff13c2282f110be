//! Stored objects read as they lie: of the metadata the labels, of the spec what its type asks for.

use model::resource::without_nulls;
use model::schema::decode::normalise;
use model::{Kind, Resource};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// Why an object counts as absent: the field, its value and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) String);

impl Refusal {
    /// A field has a value that means nothing; `wanted` says what would.
    pub(crate) fn field(field: impl fmt::Display, value: &str, wanted: &str) -> Self {
        Refusal(format!("spec.{field}: {value:?} {wanted}"))
    }
}

/// Text of an object, borrowed where it has no escapes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text, or an empty one where there is none.
pub(crate) fn text<'a>(text: &'a Option<Text<'_>>) -> &'a str {
    text.as_ref().map_or("", Text::as_str)
}

/// Labels, in the order they stand.
#[derive(Debug, Default)]
pub(crate) struct Labels<'a>(Vec<(Text<'a>, Text<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Labels<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Vec<(Text<'de>, Text<'de>)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut pairs = Vec::with_capacity(8);
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(Pairs).map(Labels)
    }
}

#[derive(Debug, Default, Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    labels: Option<Labels<'a>>,
}

/// An object.
#[derive(Debug, Deserialize)]
pub(crate) struct Object<'a, S> {
    #[serde(borrow)]
    metadata: Option<Metadata<'a>>,
    spec: Option<S>,
}

impl<'a, S: Deserialize<'a>> Object<'a, S> {
    /// Reads a value. `spare` holds another form of it where that is needed: null stands for an absent field in old
    /// objects, as Go writes and reads it.
    ///
    /// # Errors
    /// It is no JSON, or a field has another type; the place is named.
    pub(crate) fn read(kind: Kind, value: &'a [u8], spare: &'a mut Vec<u8>) -> Result<Self, Refusal> {
        let error = match serde_json::from_slice(value) {
            Ok(object) => return Ok(object),
            Err(error) => error,
        };
        let stored: Value =
            serde_json::from_slice(value).map_err(|_| Refusal(format!("is not JSON: {error}")))?;
        let Value::Object(object) = without_nulls(&stored) else {
            return Err(Refusal("is no JSON object".into()));
        };
        *spare = serde_json::to_vec(&object).unwrap_or_default();
        serde_json::from_slice(spare).map_err(|error| {
            let mut resource = Resource::from_object(kind, object);
            let problem = normalise(&mut resource).err().and_then(|error| error.problems.into_iter().next());
            Refusal(problem.map_or_else(|| error.to_string(), |problem| problem.to_string()))
        })
    }
}

impl<S: Default> Object<'_, S> {
    /// The spec; where there is none, one that says nothing.
    pub(crate) fn take_spec(&mut self) -> S {
        self.spec.take().unwrap_or_default()
    }
}

impl<S> Object<'_, S> {
    /// Labels, in the order they stand.
    pub(crate) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
        labels.into_iter().flat_map(|labels| &labels.0).map(|(key, value)| (key.as_str(), value.as_str()))
    }
}
