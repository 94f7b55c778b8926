//! 8. What is in the image and where it came from: `manifest.json`, the SBOM, `SHA256SUMS`.
