//! One tree out of the layers.

use std::collections::BTreeSet;

use super::layers::Builder;
use crate::definition::plan::{BasePlan, ImagePlan};
use crate::error::Result;
use crate::final_layer::{self, FinalLayer};
use crate::layer::{PackedLayer, read};
use crate::tree::{Tree, merge};

/// Of the paths that layers on Windows replace, those that are the base's: only one layer writes them. The
/// base is no layer there.
fn paths_of_base(plan: &ImagePlan, trees: &[Tree]) -> BTreeSet<String> {
    if !matches!(plan.base, BasePlan::Windows(_)) {
        return BTreeSet::new();
    }
    let replaced = plan.layers.iter().flat_map(|layer| &layer.replaces);
    let is_of_base = |path: &&String| trees.iter().filter(|tree| tree.get(path).is_some()).count() < 2;
    replaced.filter(is_of_base).cloned().collect()
}

/// The merged tree of `layers` (the base first, unless they lie `beside_vendor`) and of the final layer, and
/// the final layer.
pub(super) fn merge(
    builder: &Builder<'_>,
    layers: &[PackedLayer],
    beside_vendor: bool,
) -> Result<(Tree, PackedLayer)> {
    let trees = layers.iter().map(|layer| read::read_tree(&layer.tar)).collect::<Result<Vec<Tree>>>()?;
    let no_replaces: &[String] = &[];
    // A base that is a layer comes first and is not in the plan.
    let bases = usize::from(!beside_vendor);
    let of_base = paths_of_base(builder.plan, &trees);
    let replaces: Vec<Vec<String>> = (0..layers.len())
        .map(|index| match index.checked_sub(bases) {
            None => Vec::new(),
            Some(index) => {
                let mut replaces = builder.plan.layers[index].replaces.clone();
                replaces.retain(|path| !of_base.contains(path));
                replaces
            }
        })
        .collect();
    let below: Vec<merge::Layer<'_>> = layers
        .iter()
        .zip(&trees)
        .enumerate()
        .map(|(index, (layer, tree))| merge::Layer { name: &layer.name, tree, replaces: &replaces[index] })
        .collect();
    let merged = merge::merge(&below)?.tree;

    for line in final_layer::unheard(&merged, builder.plan) {
        builder.session.progress.note(&format!("warning: {line}"));
    }
    let store = &builder.session.store;
    let made = FinalLayer::of(&merged, builder.plan, builder.lock, layers, store, builder.scratch)?;
    let packed = final_layer::pack(store, &made, builder.epoch)?;
    // Read back, so that every file of the image is a slice of a layer in the store.
    let top = read::read_tree(&packed.tar)?;
    let below = merge::Layer { name: "the layers", tree: &merged, replaces: no_replaces };
    let above = merge::Layer { name: final_layer::NAME, tree: &top, replaces: &made.replaces };
    Ok((merge::merge(&[below, above])?.tree, packed))
}
