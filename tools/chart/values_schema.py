"""Fills the definitions `tenant` and `sensitivityTier` of the chart's values.schema.json with the schemas of the CustomResourceDefinitions.

Reads the definitions as one JSON object, by kind, from standard input; takes the schema and prints it anew.
"""

import json
import sys

WIDTH = 140
KEPT = {
    "type", "description", "properties", "required", "items", "enum", "pattern", "additionalProperties", "minimum", "maximum",
    "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
}


def strict(schema):
    """What JSON Schema knows of a structural schema; fields that are not declared are refused, as the API server only does when it is asked."""
    result = {key: value for key, value in schema.items() if key in KEPT}
    if "properties" in result:
        result["properties"] = {name: strict(field) for name, field in result["properties"].items()}
        result["additionalProperties"] = False
    elif isinstance(result.get("additionalProperties"), dict):
        result["additionalProperties"] = strict(result["additionalProperties"])
    if "items" in result:
        result["items"] = strict(result["items"])
    if schema.get("nullable"):
        result["type"] = [result["type"], "null"]
    if schema.get("x-kubernetes-list-type") in ("set", "map"):
        result["uniqueItems"] = True
    return result


def spec(definition):
    return strict(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"])


def text(value, indent=0):
    """JSON with whatever fits on a line in one."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + indent <= WIDTH or not isinstance(value, (dict, list)):
        return line
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        items, (first, last) = [f"{pad}{json.dumps(key)}: {text(item, indent + 2)}" for key, item in value.items()], "{}"
    else:
        items, (first, last) = [pad + text(item, indent + 2) for item in value], "[]"
    return first + "\n" + ",\n".join(items) + "\n" + " " * indent + last


def main():
    definitions = json.load(sys.stdin)
    with open(sys.argv[1], encoding="utf-8") as file:
        schema = json.load(file)
    schema["definitions"]["tenant"] = spec(definitions["Tenant"])
    schema["definitions"]["sensitivityTier"] = spec(definitions["SensitivityTier"])
    print(text(schema))


if __name__ == "__main__":
    main()
