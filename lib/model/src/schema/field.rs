//! The words in which a kind's table is written: fields, their types, when they are stored, and what is checked.
//!
//! A table lists fields in the order of Calico's Go structs, because that is the order of stored JSON. Everything else
//! follows from it: strict reading, the stored form, the validator tags of the Go structs and the checks of the CRDs.

use super::path::Path;
use crate::error::FieldError;
use crate::felix::Parameter;
use crate::resource::Resource;
use serde_json::{Map, Value};

/// What a rule may look at besides the object it is attached to.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The whole resource, in stored form.
    pub resource: &'a Resource,
}

/// A rule across the fields of one object: the object, where it stands, and where to report.
pub type Rule = fn(&Context<'_>, &Map<String, Value>, &Path<'_>, &mut Vec<FieldError>);

/// An object of a resource.
#[derive(Debug)]
pub struct Object {
    /// Its fields, in stored order.
    pub fields: &'static [Field],
    /// Calico's struct validator, run after the tags of its fields.
    pub rule: Option<Rule>,
    /// The CRD's CEL rules, run after the schema checks of the whole resource.
    pub cel: Option<Rule>,
}

impl Object {
    /// An object of these fields, in stored order.
    pub const fn new(fields: &'static [Field]) -> Self {
        Self { fields, rule: None, cel: None }
    }

    /// With a struct validator.
    pub const fn rule(mut self, rule: Rule) -> Self {
        self.rule = Some(rule);
        self
    }

    /// With CEL rules.
    pub const fn cel(mut self, rule: Rule) -> Self {
        self.cel = Some(rule);
        self
    }
}

/// Type of a field.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// true or false
    Bool,
    /// Whole number within the Go type's range.
    Int {
        /// Smallest the Go type holds.
        min: i64,
        /// Largest the Go type holds.
        max: i64,
    },
    /// Number.
    Float,
    /// Text; booleans and numbers of YAML become text.
    Text,
    /// Go duration; stored as Go prints it.
    Duration,
    /// Port number, range `a:b` or name; stored as a number where it is one.
    Port,
    /// Protocol name or number; a number in quotes is stored as a number.
    Protocol,
    /// AS number, also `"1.10"`; stored as a number.
    AsNumber,
    /// DSCP name or number; a number in quotes is stored as a number.
    Dscp,
    /// Whole number or text, stored as given (Kubernetes' IntOrString).
    IntOrText,
    /// Nested object.
    Object(&'static Object),
    /// List; the item is a field without a name.
    List(&'static Field),
    /// Map of text to text; keys are sorted.
    TextMap,
    /// Map of text to items of one type; keys are sorted.
    Map(&'static Field),
    /// Stored as given.
    Any,
}

/// When a field is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Left out when empty, false or zero (Go's omitempty on a value).
    OmitEmpty,
    /// Kept whenever given, also when empty, false or zero (Go's omitempty on a pointer).
    Pointer,
    /// Always written; absent becomes the zero value.
    Always,
    /// Always written; absent becomes null.
    AlwaysNull,
}

/// A validator tag of Calico's Go structs.
#[derive(Debug, Clone, Copy)]
pub struct Tag {
    /// Its name, as in the message.
    pub name: &'static str,
    /// Whether a value passes.
    pub accepts: fn(&Value) -> bool,
    /// What it does with empty values.
    pub empty: OnEmpty,
}

/// What a validator tag does with values that are absent, empty, false or zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnEmpty {
    /// Passes them (`omitempty`).
    Skip,
    /// Judges them like others.
    Judge,
    /// Refuses them (`required`).
    Refuse,
}

impl Tag {
    /// A tag that passes empty values.
    pub const fn new(name: &'static str, accepts: fn(&Value) -> bool) -> Self {
        Self { name, accepts, empty: OnEmpty::Skip }
    }

    /// The same tag without `omitempty`.
    pub const fn also_empty(mut self) -> Self {
        self.empty = OnEmpty::Judge;
        self
    }

    /// Go's `required`: the value is not empty.
    pub const REQUIRED: Tag = Tag { name: "required", accepts: |_| true, empty: OnEmpty::Refuse };
}

/// A check of the CRD's schema.
#[derive(Debug, Clone, Copy)]
pub enum Check {
    /// One of these texts.
    Enum(&'static [&'static str]),
    /// One of these numbers.
    IntEnum(&'static [i64]),
    /// At least this number.
    Min(i64),
    /// At most this number.
    Max(i64),
    /// At least so many items.
    MinItems(usize),
    /// At most so many items.
    MaxItems(usize),
    /// At least so many of the object's fields set.
    MinProperties(usize),
    /// At most so many of the object's fields set.
    MaxProperties(usize),
    /// At least so many characters.
    MinLength(usize),
    /// At most so many characters.
    MaxLength(usize),
    /// Text that matches a pattern: the pattern as the message shows it, and what decides.
    Pattern(&'static str, fn(&str) -> bool),
    /// Text in a format: its name as the message shows it, and what decides.
    Format(&'static str, fn(&str) -> bool),
    /// A whole number of 32 bits with sign.
    Int32,
}

/// What absence becomes on write.
#[derive(Debug, Clone, Copy)]
pub enum Default {
    /// Stays absent.
    None,
    /// A text.
    Text(&'static str),
    /// A list of texts.
    Texts(&'static [&'static str]),
}

const MAX_TAGS: usize = 2;
const MAX_CHECKS: usize = 3;

/// A field of an object, or the item of a list.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// JSON name; empty for items.
    pub name: &'static str,
    /// Go name, as in tag messages; empty means the JSON name with a capital letter.
    pub go: &'static str,
    /// Its type.
    pub ty: Type,
    /// When it is stored.
    pub presence: Presence,
    /// Validator tags in order; the first that fails is reported.
    pub tags: [Option<Tag>; MAX_TAGS],
    /// Schema checks; all that fail are reported.
    pub checks: [Option<Check>; MAX_CHECKS],
    /// What absence becomes on write.
    pub default: Default,
    /// The parameter of the node agent that it sets.
    pub parameter: Option<Parameter>,
}

impl Field {
    /// A field of this type.
    pub const fn new(name: &'static str, ty: Type) -> Self {
        Self {
            name,
            go: "",
            ty,
            presence: Presence::OmitEmpty,
            tags: [None; MAX_TAGS],
            checks: [None; MAX_CHECKS],
            default: Default::None,
            parameter: None,
        }
    }

    /// An item of a list or map.
    pub const fn item(ty: Type) -> Self {
        Self::new("", ty)
    }

    /// With this Go name, where it is not the JSON name with a capital letter.
    pub const fn go(mut self, name: &'static str) -> Self {
        self.go = name;
        self
    }

    /// Kept whenever given.
    pub const fn pointer(mut self) -> Self {
        self.presence = Presence::Pointer;
        self
    }

    /// Always written.
    pub const fn always(mut self) -> Self {
        self.presence = Presence::Always;
        self
    }

    /// Always written, null when absent.
    pub const fn always_null(mut self) -> Self {
        self.presence = Presence::AlwaysNull;
        self
    }

    /// With one more validator tag; at most two.
    #[allow(clippy::indexing_slicing)] // evaluated when compiling: a third tag does not build
    pub const fn tag(mut self, tag: Tag) -> Self {
        let mut free = 0;
        while self.tags[free].is_some() {
            free += 1;
        }
        self.tags[free] = Some(tag);
        self
    }

    /// With one more schema check; at most three.
    #[allow(clippy::indexing_slicing)] // evaluated when compiling: a fourth check does not build
    pub const fn check(mut self, check: Check) -> Self {
        let mut free = 0;
        while self.checks[free].is_some() {
            free += 1;
        }
        self.checks[free] = Some(check);
        self
    }

    /// With a default on write.
    pub const fn default(mut self, default: Default) -> Self {
        self.default = default;
        self
    }

    /// Sets this parameter of the node agent.
    pub const fn parameter(mut self, parameter: Parameter) -> Self {
        self.parameter = Some(parameter);
        self
    }

    /// Its Go name.
    pub fn go_name(&self) -> String {
        if !self.go.is_empty() {
            return self.go.to_owned();
        }
        let mut chars = self.name.chars();
        chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
    }
}

/// A text field.
pub const fn text(name: &'static str) -> Field {
    Field::new(name, Type::Text)
}

/// A boolean field.
pub const fn flag(name: &'static str) -> Field {
    Field::new(name, Type::Bool)
}

/// A Go `int`.
pub const fn int(name: &'static str) -> Field {
    Field::new(name, Type::Int { min: i64::MIN, max: i64::MAX })
}

/// A Go `int32`.
pub const fn int32(name: &'static str) -> Field {
    Field::new(name, Type::Int { min: i32::MIN as i64, max: i32::MAX as i64 })
}

/// A Go `uint32`.
pub const fn uint32(name: &'static str) -> Field {
    Field::new(name, Type::Int { min: 0, max: u32::MAX as i64 })
}

/// A Go `uint16`.
pub const fn uint16(name: &'static str) -> Field {
    Field::new(name, Type::Int { min: 0, max: u16::MAX as i64 })
}

/// A Go `uint8`.
pub const fn uint8(name: &'static str) -> Field {
    Field::new(name, Type::Int { min: 0, max: u8::MAX as i64 })
}

/// A Go `*metav1.Duration`.
pub const fn duration(name: &'static str) -> Field {
    Field::new(name, Type::Duration).pointer()
}

/// A Go struct, left out when empty.
pub const fn object(name: &'static str, object: &'static Object) -> Field {
    Field::new(name, Type::Object(object))
}

/// A list.
pub const fn list(name: &'static str, item: &'static Field) -> Field {
    Field::new(name, Type::List(item))
}

/// A map of text to text.
pub const fn text_map(name: &'static str) -> Field {
    Field::new(name, Type::TextMap)
}

/// The item of a list of texts.
pub const TEXT: &Field = &Field::item(Type::Text);
