//! Model configuration: one field per switch of the paper's tables. The JSON form is shared with Python's
//! `DSCTConfig` and stored in every checkpoint.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// The 26 classes of EMOTIC, in the order of its annotations.
pub const EMOTIC_CLASSES: [&str; 26] = [
    "Affection",
    "Anger",
    "Annoyance",
    "Anticipation",
    "Aversion",
    "Confidence",
    "Disapproval",
    "Disconnection",
    "Disquietment",
    "Doubt/Confusion",
    "Embarrassment",
    "Engagement",
    "Esteem",
    "Excitement",
    "Fatigue",
    "Fear",
    "Happiness",
    "Pain",
    "Peace",
    "Pleasure",
    "Sadness",
    "Sensitivity",
    "Suffering",
    "Surprise",
    "Sympathy",
    "Yearning",
];
/// The 7 classes of CAER-S, in the order of its label ids.
pub const CAER_S_CLASSES: [&str; 7] = ["Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"];
/// Backbones: Table 9 of the paper and the small one of the demo.
pub const BACKBONES: [&str; 8] =
    ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2", "tiny"];

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// The JSON forms of all values.
            pub fn names() -> Vec<String> {
                [$(stringify!($variant)),*].map(str::to_lowercase).into()
            }
        }
    };
}
choice!(
    /// A set of context queries that a subject aggregates (Table 6).
    Relation {
        /// Nearest reference points (Eq. 6).
        Spatial,
        /// By dot product of the embeddings (Eq. 7).
        Semantic,
    }
);
choice!(
    /// Which end of the relevance order the semantic set takes.
    SemanticOrder {
        /// The smallest dot products (the paper's words).
        Lowest,
        /// The largest (the released code).
        Highest,
    }
);
choice!(
    /// Coordinates in which distances of reference points are measured.
    SpatialFrame {
        /// Unscaled (Eq. 6): independent of the padding.
        Valid,
        /// Multiplied by the valid ratio of level 0 (the released code).
        Padded,
    }
);
choice!(
    /// How the chosen context queries are summed (Eq. 8).
    Aggregation {
        /// One softmax over both sets (the paper).
        Union,
        /// One softmax per set and one over the subjects (the released code).
        Split,
    }
);
choice!(
    /// What the weights of the sum are made of (Table 7).
    Reweighting {
        /// softmax of the dot products.
        Semantic,
        /// 1/K.
        Equal,
        /// softmax of minus the distance.
        Spatial,
        /// softmax of a learned linear map of the subject.
        Attentive,
    }
);
choice!(
    /// What the score of a query is the mean of.
    Score {
        /// Class probabilities.
        Probability,
        /// Class logits (the paper's words).
        Logit,
    }
);

/// See the module documentation. Field names and JSON are those of Python's `DSCTConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)] // One line per field stands in Python's DSCTConfig, the page that users read.
pub struct DsctConfig {
    pub backbone: String,
    pub train_backbone: String,
    pub num_classes: i64,
    pub multi_label: bool,
    pub person_class: bool,
    pub class_names: Vec<String>,
    pub num_subject_queries: i64,
    pub num_context_queries: i64,
    pub hidden_dim: i64,
    pub nheads: i64,
    pub enc_layers: usize,
    pub dec_layers: usize,
    pub dim_feedforward: i64,
    pub dropout: f64,
    pub num_feature_levels: usize,
    pub enc_n_points: i64,
    pub dec_n_points: i64,
    pub selection: Vec<Relation>,
    pub k_spatial: i64,
    pub k_semantic: i64,
    pub semantic_order: SemanticOrder,
    pub spatial_frame: SpatialFrame,
    pub aggregation: Aggregation,
    pub reweighting: Reweighting,
    pub fusion_layers: Option<Vec<usize>>,
    pub cost_class: f64,
    pub cost_bbox: f64,
    pub cost_giou: f64,
    pub loss_class: f64,
    pub loss_bbox: f64,
    pub loss_giou: f64,
    pub focal_alpha: f64,
    pub focal_gamma: f64,
    pub score: Score,
}

fn names(classes: &[&str]) -> Vec<String> {
    classes.iter().map(|&name| name.to_owned()).collect()
}

impl Default for DsctConfig {
    /// [`DsctConfig::paper_emotic`].
    fn default() -> Self {
        Self {
            backbone: "resnet50".into(),
            train_backbone: "layers2-4".into(),
            num_classes: 26,
            multi_label: true,
            person_class: false,
            class_names: names(&EMOTIC_CLASSES),
            num_subject_queries: 4,
            num_context_queries: 300,
            hidden_dim: 256,
            nheads: 8,
            enc_layers: 6,
            dec_layers: 6,
            dim_feedforward: 1024,
            dropout: 0.1,
            num_feature_levels: 4,
            enc_n_points: 4,
            dec_n_points: 4,
            selection: vec![Relation::Spatial, Relation::Semantic],
            k_spatial: 100,
            k_semantic: 50,
            semantic_order: SemanticOrder::Lowest,
            spatial_frame: SpatialFrame::Valid,
            aggregation: Aggregation::Union,
            reweighting: Reweighting::Semantic,
            fusion_layers: None,
            cost_class: 2.0,
            cost_bbox: 5.0,
            cost_giou: 2.0,
            loss_class: 5.0,
            loss_bbox: 5.0,
            loss_giou: 2.0,
            focal_alpha: 0.25,
            focal_gamma: 2.0,
            score: Score::Probability,
        }
    }
}

impl DsctConfig {
    /// The paper's model for EMOTIC.
    pub fn paper_emotic() -> Self {
        Self::default()
    }

    /// The paper's model for CAER-S, fusion on.
    pub fn paper_caer_s() -> Self {
        Self {
            num_classes: 7,
            multi_label: false,
            class_names: names(&CAER_S_CLASSES),
            num_subject_queries: 9,
            ..Self::default()
        }
    }

    fn official(self) -> Self {
        Self {
            person_class: true,
            aggregation: Aggregation::Split,
            semantic_order: SemanticOrder::Highest,
            spatial_frame: SpatialFrame::Padded,
            ..self
        }
    }

    /// The authors' released code for EMOTIC.
    pub fn official_emotic() -> Self {
        Self::paper_emotic().official()
    }

    /// The authors' released code for CAER-S, whose recipe switches fusion off.
    pub fn official_caer_s() -> Self {
        Self { loss_class: 9.0, fusion_layers: Some(Vec::new()), ..Self::paper_caer_s().official() }
    }

    /// The small model of the demo.
    pub fn tiny() -> Self {
        Self {
            backbone: "tiny".into(),
            train_backbone: "all".into(),
            num_subject_queries: 8,
            num_context_queries: 32,
            hidden_dim: 64,
            nheads: 4,
            enc_layers: 1,
            dec_layers: 2,
            dim_feedforward: 128,
            dropout: 0.0,
            k_spatial: 12,
            k_semantic: 6,
            // A model from scratch on balanced drawings: a milder focal loss learns in fewer steps.
            loss_class: 8.0,
            focal_alpha: 0.5,
            focal_gamma: 1.0,
            ..Self::paper_caer_s()
        }
    }

    /// The fields that take one of a few words, or several as `selection` does, and these words.
    pub fn choices() -> [(&'static str, Vec<String>); 6] {
        [
            ("selection", Relation::names()),
            ("semantic_order", SemanticOrder::names()),
            ("spatial_frame", SpatialFrame::names()),
            ("aggregation", Aggregation::names()),
            ("reweighting", Reweighting::names()),
            ("score", Score::names()),
        ]
    }

    /// The preset of this name.
    ///
    /// # Errors
    /// [`Error::Value`] for an unknown name.
    pub fn preset(name: &str) -> Result<Self> {
        match name {
            "paper_emotic" => Ok(Self::paper_emotic()),
            "paper_caer_s" => Ok(Self::paper_caer_s()),
            "official_emotic" => Ok(Self::official_emotic()),
            "official_caer_s" => Ok(Self::official_caer_s()),
            "tiny" => Ok(Self::tiny()),
            _ => Err(Error::Value(format!(
                "preset must be one of paper_emotic, paper_caer_s, official_emotic, official_caer_s, tiny, got '{name}'"
            ))),
        }
    }

    /// Reads and validates the JSON form; absent fields have the defaults of [`DsctConfig::paper_emotic`].
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Value`] that names the field.
    pub fn from_json(text: &str) -> Result<Self> {
        let value: Value =
            serde_json::from_str(text).map_err(|e| Error::Value(format!("DSCTConfig: not JSON: {e}")))?;
        let Value::Object(fields) = value else {
            return Err(Error::Value(format!("DSCTConfig: expected a JSON object, got {value}")));
        };
        // Field by field, so that an error can name the field.
        let mut known = serde_json::to_value(Self::default()).expect("a struct of numbers and strings serialises");
        for (field, value) in fields {
            if known.get(&field).is_none() {
                return Err(Error::Value(format!("DSCTConfig: there is no field '{field}'")));
            }
            let got = value.to_string();
            known[&field] = value;
            if let Err(error) = serde_json::from_value::<Self>(known.clone()) {
                return Err(Error::Value(format!("DSCTConfig: {field}: {error}, got {got}")));
            }
        }
        let config: Self = serde_json::from_value(known).map_err(|e| Error::Value(format!("DSCTConfig: {e}")))?;
        config.validate()?;
        Ok(config)
    }

    /// The JSON form.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a struct of numbers and strings always serialises")
    }

    /// Logits per query: C, or C + 1 with `person_class`.
    pub fn num_logits(&self) -> i64 {
        self.num_classes + i64::from(self.person_class)
    }

    /// Whether context flows into subjects in decoder layer `layer`.
    pub fn fuses(&self, layer: usize) -> bool {
        self.num_context_queries > 0 && self.fusion_layers.as_ref().is_none_or(|layers| layers.contains(&layer))
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] with the first field that is out of range.
    pub fn validate(&self) -> Result<()> {
        require(BACKBONES.contains(&self.backbone.as_str()) || self.backbone == "custom", "backbone", || {
            (format!("one of {} or custom", BACKBONES.join(", ")), format!("'{}'", self.backbone))
        })?;
        require(["all", "layers2-4", "none"].contains(&self.train_backbone.as_str()), "train_backbone", || {
            ("one of all, layers2-4, none".into(), format!("'{}'", self.train_backbone))
        })?;
        self.validate_sizes()?;
        self.validate_weights()?;
        require(self.class_names.len() as i64 == self.num_classes, "class_names", || {
            (format!("{} names, one per class", self.num_classes), format!("{}", self.class_names.len()))
        })?;
        let unique = self.selection.len() < 2 || self.selection.len() == 2 && self.selection[0] != self.selection[1];
        require(unique, "selection", || ("relations without repetition".into(), format!("{:?}", self.selection)))?;
        let layers = self.fusion_layers.as_deref().unwrap_or_default();
        require(layers.iter().all(|&layer| layer < self.dec_layers), "fusion_layers", || {
            (format!("layers in 0..{}", self.dec_layers), format!("{layers:?}"))
        })
    }

    fn validate_sizes(&self) -> Result<()> {
        let at_least = |field, value: i64, least: i64| {
            require(value >= least, field, || (format!("at least {least}"), value.to_string()))
        };
        at_least("num_classes", self.num_classes, 1)?;
        at_least("num_subject_queries", self.num_subject_queries, 0)?;
        at_least("num_context_queries", self.num_context_queries, 0)?;
        at_least("nheads", self.nheads, 1)?;
        at_least("hidden_dim", self.hidden_dim, 32)?;
        at_least("dim_feedforward", self.dim_feedforward, 1)?;
        at_least("num_feature_levels", self.num_feature_levels as i64, 1)?;
        at_least("dec_layers", self.dec_layers as i64, 1)?;
        at_least("enc_n_points", self.enc_n_points, 1)?;
        at_least("dec_n_points", self.dec_n_points, 1)?;
        at_least("k_spatial", self.k_spatial, 0)?;
        at_least("k_semantic", self.k_semantic, 0)?;
        require(self.hidden_dim % 32 == 0 && self.hidden_dim % self.nheads == 0, "hidden_dim", || {
            (format!("divisible by 32 and by nheads = {}", self.nheads), self.hidden_dim.to_string())
        })
    }

    fn validate_weights(&self) -> Result<()> {
        let weights = [
            ("cost_class", self.cost_class),
            ("cost_bbox", self.cost_bbox),
            ("cost_giou", self.cost_giou),
            ("loss_class", self.loss_class),
            ("loss_bbox", self.loss_bbox),
            ("loss_giou", self.loss_giou),
            ("focal_gamma", self.focal_gamma),
        ];
        for (field, value) in weights {
            require(value >= 0.0 && value.is_finite(), field, || {
                ("finite and not negative".into(), value.to_string())
            })?;
        }
        let alpha = self.focal_alpha;
        require((0.0..=1.0).contains(&alpha), "focal_alpha", || ("in [0, 1]".into(), alpha.to_string()))?;
        require((0.0..1.0).contains(&self.dropout), "dropout", || ("in [0, 1)".into(), self.dropout.to_string()))
    }
}

fn require(ok: bool, field: &'static str, why: impl FnOnce() -> (String, String)) -> Result<()> {
    if ok {
        return Ok(());
    }
    let (expected, got) = why();
    Err(Error::Config { field, expected, got })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid_and_survives_json() {
        for name in ["paper_emotic", "paper_caer_s", "official_emotic", "official_caer_s", "tiny"] {
            let config = DsctConfig::preset(name).unwrap();
            assert_eq!(DsctConfig::from_json(&config.to_json()).unwrap(), config, "{name}");
        }
    }

    #[test]
    fn errors_name_the_field() {
        for (json, field) in [
            (r#"{"hidden_dim": 100}"#, "hidden_dim"),
            (r#"{"backbone": "vgg"}"#, "backbone"),
            (r#"{"fusion_layers": [6]}"#, "fusion_layers"),
            (r#"{"num_classes": 3}"#, "class_names"),
            (r#"{"aggregation": "mean"}"#, "union"),
            (r#"{"focal_alpha": 1.5}"#, "focal_alpha"),
            (r#"{"typo": 1}"#, "typo"),
        ] {
            let text = DsctConfig::from_json(json).unwrap_err().to_string();
            assert!(text.contains(field), "{json}: {text}");
        }
    }

    #[test]
    fn fusion_follows_the_layers() {
        let late = DsctConfig { fusion_layers: Some(vec![5]), ..DsctConfig::default() };
        assert!(late.fuses(5) && !late.fuses(0));
        assert!(DsctConfig::default().fuses(0));
        assert!(!DsctConfig::official_caer_s().fuses(0));
        assert!(!DsctConfig { num_context_queries: 0, ..DsctConfig::default() }.fuses(0));
    }
}
