"""Many columns at once: embeddings, and the numeric columns of a table together."""

from metrics_py.multivariate.domain_classifier import DomainClassifier, domain_classifier
from metrics_py.multivariate.embeddings import EmbeddingModel, embedding_distances, fit_embeddings
from metrics_py.multivariate.hotelling import Hotelling, hotelling
from metrics_py.multivariate.joint import JointModel, fit_joint, joint_distances
from metrics_py.multivariate.maps import embedding_map
from metrics_py.multivariate.random_features import NullLaw, RandomFeatures, draw_features, median_heuristic, mmd2
from metrics_py.multivariate.vectors import read_vectors

__all__ = [
    "DomainClassifier",
    "EmbeddingModel",
    "Hotelling",
    "JointModel",
    "NullLaw",
    "RandomFeatures",
    "domain_classifier",
    "draw_features",
    "embedding_distances",
    "embedding_map",
    "fit_embeddings",
    "fit_joint",
    "hotelling",
    "joint_distances",
    "median_heuristic",
    "mmd2",
    "read_vectors",
]
