"""MLflow's model registry on SQLite, with its default settings."""

from __future__ import annotations

import mlflow  # type: ignore[import-not-found] # in an environment of its own
from answering import answer, directory, manifest
from mlflow.entities.model_registry import (  # type: ignore[import-not-found]
    RegisteredModelTag,
)
from mlflow.store.model_registry.sqlalchemy_store import (  # type: ignore[import-not-found]
    SqlAlchemyStore,
)

store = SqlAlchemyStore(f"sqlite:///{directory() / 'mlflow.db'}")
tags = [RegisteredModelTag("manifest", manifest()[:5000])]
answer(
    mlflow.__version__,
    {
        "register": lambda name: store.create_registered_model(name, tags, "a capsule"),
        "get": store.get_registered_model,
    },
)
