"""The science: sampling, correspondence, blending, backbones. Knows no Prefect, Ray or fsspec."""
