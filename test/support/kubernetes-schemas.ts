/**
 * What Kubernetes, the Gateway API, its inference extension and the Prometheus operator publish of
 * their objects, as JSON Schemas that allow no field they do not name: the API server drops such a
 * field without a word (kubectl warns at most), and a probe with a letter too many is no probe.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { documentsOf, type Manifest } from './manifests.js';

/** A group as it stands in apiVersion, '' that of Pods. */
interface Kind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

/** As kubeconform calls {{ .ResourceKind }}{{ .KindSuffix }}. */
function fileOf({ group, version, kind }: Kind): string {
  const [first] = group.split('.');
  return `${[kind, ...(first ? [first] : []), version].join('-').toLowerCase()}.json`;
}

const QUANTITY = 'io.k8s.apimachinery.pkg.api.resource.Quantity';
const EITHER = { oneOf: [{ type: 'string' }, { type: 'integer' }] };

/** Objects with fields have no others; whole and text is told apart as Kubernetes does. */
function strict(schema: Manifest): Manifest {
  if (Array.isArray(schema)) return schema.map(strict);
  if (schema === null || typeof schema !== 'object') return schema;
  if (schema['x-kubernetes-int-or-string'] || schema.format === 'int-or-string') return EITHER;
  const entries = Object.entries(schema).filter(([name]) => !name.startsWith('x-kubernetes-'));
  const made = Object.fromEntries(
    entries.map(([name, value]) => {
      if (name !== 'properties') return [name, strict(value)];
      const fields = Object.entries(value as object);
      return [name, Object.fromEntries(fields.map(([field, one]) => [field, strict(one)]))];
    }),
  );
  const isOpen = schema['x-kubernetes-preserve-unknown-fields'] === true;
  if (made.properties && !isOpen) made.additionalProperties ??= false;
  return made;
}

/** With apiVersion and kind as they must stand. */
function whole(schema: Manifest, { group, version, kind }: Kind): Manifest {
  const apiVersion = group ? `${group}/${version}` : version;
  const properties = {
    ...schema.properties,
    apiVersion: { const: apiVersion },
    kind: { const: kind },
  };
  const required = [...new Set([...(schema.required ?? []), 'apiVersion', 'kind', 'metadata'])];
  return { ...schema, properties, required };
}

/** What a schema refers to, and what that refers to. */
function reached(schema: Manifest, all: Manifest, found: Manifest = {}): Manifest {
  for (const [, name] of JSON.stringify(schema).matchAll(/"#\/definitions\/([^"]+)"/g)) {
    if (name in found) continue;
    found[name] = all[name];
    reached(all[name], all, found);
  }
  return found;
}

/** The schemas of one that Kubernetes has in its OpenAPI document, into a folder. */
export function writeKubernetes(document: string, folder: string): void {
  const { definitions: given } = JSON.parse(readFileSync(document, 'utf8'));
  const definitions = strict({ properties: given }).properties;
  definitions[QUANTITY] = { oneOf: [{ type: 'string' }, { type: 'number' }] };
  for (const [name, { 'x-kubernetes-group-version-kind': kinds = [] }] of Object.entries<Manifest>(
    given,
  )) {
    // Options of calls stand for many kinds; an object stands for one.
    if (kinds.length !== 1 || !given[name].properties?.metadata) continue;
    const schema = { ...whole(definitions[name], kinds[0]) };
    const text = JSON.stringify({ ...schema, definitions: reached(schema, definitions) });
    writeFileSync(join(folder, fileOf(kinds[0])), text);
  }
}

/** The schemas of the resources that a folder of CustomResourceDefinitions defines. */
export function writeCustom(crds: string, folder: string): void {
  const files = readdirSync(crds).filter((name) => name.endsWith('.yaml'));
  for (const file of files) {
    for (const crd of documentsOf(readFileSync(join(crds, file), 'utf8'))) {
      if (crd?.kind !== 'CustomResourceDefinition') continue;
      const { group, names, versions } = crd.spec;
      for (const { name: version, schema } of versions) {
        const kind = { group, version, kind: names.kind };
        const text = JSON.stringify(whole(strict(schema.openAPIV3Schema), kind));
        writeFileSync(join(folder, fileOf(kind)), text);
      }
    }
  }
}
