//! The kernel where an image has it, wherever a vendor puts it.

use crate::tree::{Entry, Node, Tree};

/// Where systems of Fedora's kind keep the kernel and its configuration, below the folder of its modules.
const MODULES: &str = "usr/lib/modules";

/// `tree` with a kernel of `/usr/lib/modules` in `/boot`, unless one is there.
pub(super) fn in_boot(mut tree: Tree) -> Tree {
    let is_kernel =
        |path: &str, entry: &Entry| path.starts_with("boot/vmlinuz-") && matches!(entry.node, Node::File(_));
    if tree.below("boot").any(|(path, entry)| is_kernel(path, entry)) {
        return tree;
    }
    for file in ["vmlinuz", "config"] {
        let found: Vec<(String, Entry)> = tree
            .below(MODULES)
            .filter_map(|(path, entry)| {
                let version =
                    path.strip_prefix(MODULES)?.strip_prefix('/')?.strip_suffix(file)?.strip_suffix('/')?;
                (!version.contains('/')).then(|| (format!("boot/{file}-{version}"), entry.clone()))
            })
            .collect();
        tree.entries.extend(found);
    }
    tree.complete();
    tree
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Body;

    #[test]
    fn a_kernel_beside_its_modules_is_found() {
        let file = |text: &str| Entry::file(Body::inline(text.as_bytes()), 0o644);
        let mut tree = Tree::default();
        tree.insert("usr/lib/modules/6.12.1/vmlinuz", file("kernel"));
        tree.insert("usr/lib/modules/6.12.1/config", file("CONFIG_X=y"));
        let moved = in_boot(tree.clone());
        assert_eq!(moved.file("boot/vmlinuz-6.12.1"), tree.file("usr/lib/modules/6.12.1/vmlinuz"));
        assert!(moved.file("boot/config-6.12.1").is_some());
        tree.insert("boot/vmlinuz-6.1", file("other"));
        assert!(in_boot(tree).file("boot/vmlinuz-6.12.1").is_none());
    }
}
