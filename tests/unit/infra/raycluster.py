"""The fields of a KubeRay RayCluster that we use, as a JSON schema: the CRD's own is not to be had offline.

After the API reference of KubeRay 1.5 (`ray.io/v1`). Pod templates are checked apart, as the pods they become.
"""

from __future__ import annotations

from typing import Any

_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}  # `num-cpus: 0` as a number is refused
_COUNT = {"type": "integer", "minimum": 0}
_TEMPLATE = {
    "type": "object",
    "required": ["spec"],
    "properties": {"metadata": {"type": "object"}, "spec": {"type": "object"}},
}

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayCluster"},
        "metadata": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string", "maxLength": 50}},
        },
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["rayVersion", "headGroupSpec", "workerGroupSpecs"],
            "properties": {
                "rayVersion": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
                "suspend": {"type": "boolean"},
                "enableInTreeAutoscaling": {"type": "boolean"},
                "authOptions": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "mode": {"enum": ["token", "disabled"]},
                        "secretName": {"type": "string"},
                        "enableK8sTokenAuth": {"type": "boolean"},
                    },
                },
                "autoscalerOptions": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "version": {"enum": ["v1", "v2"]},
                        "idleTimeoutSeconds": _COUNT,
                        "upscalingMode": {"enum": ["Default", "Aggressive", "Conservative"]},
                        "resources": {"type": "object"},
                        "env": {"type": "array"},
                        "securityContext": {"type": "object"},
                    },
                },
                "headGroupSpec": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["rayStartParams", "template"],
                    "properties": {
                        "serviceType": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
                        "rayStartParams": _TEXTS,
                        "template": _TEMPLATE,
                    },
                },
                "workerGroupSpecs": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"],
                        "properties": {
                            "groupName": {"type": "string"},
                            "replicas": _COUNT,
                            "minReplicas": _COUNT,
                            "maxReplicas": {"type": "integer", "minimum": 1},
                            "idleTimeoutSeconds": _COUNT,
                            "rayStartParams": _TEXTS,
                            "template": _TEMPLATE,
                        },
                    },
                },
            },
        },
    },
}
