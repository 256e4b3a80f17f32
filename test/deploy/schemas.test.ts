/** deploy/kubernetes, judged by kubeconform with what the projects themselves publish. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { findProgram } from '../../scripts/find-program.mjs';
import { describeAll } from '../support/all.js';
import { goModule, goProgram } from '../support/go-tools.js';
import { writeCustom, writeKubernetes } from '../support/kubernetes-schemas.js';
import {
  documentsIn,
  KUBERNETES,
  type Manifest,
  objectIn,
  yamlFiles,
} from '../support/manifests.js';

/** Objects that are sent as they stand: neither kustomizations nor patches nor a chart's values. */
function objects(): Manifest[] {
  const patches = yamlFiles()
    .filter((path) => path.endsWith('kustomization.yaml'))
    .flatMap((path) => documentsIn(path)[0].patches ?? [])
    .map(({ path }: Manifest) => path);
  return yamlFiles()
    .filter((path) => !patches.some((patch) => patch && path.endsWith(`/${patch}`)))
    .flatMap(documentsIn)
    .filter(({ kind }) => kind && kind !== 'Kustomization' && kind !== 'Component');
}

describeAll('by their schemas', () => {
  let kubeconform: string | undefined;
  let folder: string;

  beforeAll(() => {
    kubeconform = goProgram('github.com/yannh/kubeconform/cmd/kubeconform', 'v0.8.0');
    // Where one cannot be fetched, the others are not waited for.
    const kubernetes = kubeconform && goModule('k8s.io/kubernetes', 'v1.36.3');
    const gateway = kubernetes && goModule('sigs.k8s.io/gateway-api', 'v1.6.3');
    const inference = gateway && goModule('sigs.k8s.io/gateway-api-inference-extension', 'v1.6.0');
    const operator =
      inference && goModule('github.com/prometheus-operator/prometheus-operator', 'v0.85.0');
    if (!kubernetes || !gateway || !inference || !operator) {
      kubeconform = undefined;
      return;
    }
    folder = mkdtempSync(join(tmpdir(), 'schemas-'));
    writeKubernetes(join(kubernetes, 'api', 'openapi-spec', 'swagger.json'), folder);
    writeCustom(join(gateway, 'config', 'crd', 'standard'), folder);
    writeCustom(join(inference, 'config', 'crd', 'bases'), folder);
    writeCustom(join(operator, 'example', 'prometheus-operator-crd'), folder);
  });

  /** What kubeconform says: each resource that is not valid, and how many there were. */
  function judge(program: string, manifests: readonly Manifest[]) {
    const location = join(folder, '{{ .ResourceKind }}{{ .KindSuffix }}.json');
    const { stdout, error } = spawnSync(
      program,
      ['-strict', '-summary', '-output', 'json', '-schema-location', location, '-'],
      { input: manifests.map((one) => stringify(one)).join('---\n'), encoding: 'utf8' },
    );
    if (error) throw error;
    const { resources = [], summary } = JSON.parse(stdout);
    return {
      wrong: resources.map(({ kind, name, msg }: Manifest) => `${kind} ${name}: ${msg}`),
      summary,
    };
  }

  it('each file is what its kind may be', ({ skip }) => {
    if (kubeconform === undefined) return skip('Go modules could not be fetched');
    const all = objects();
    const { wrong, summary } = judge(kubeconform, all);
    expect(wrong).toEqual([]);
    expect(summary).toEqual({ valid: all.length, invalid: 0, errors: 0, skipped: 0 });
  });

  it('so is what kustomize makes of them', ({ skip }) => {
    if (kubeconform === undefined) return skip('Go modules could not be fetched');
    const kubectl = findProgram('kubectl');
    const kustomize =
      kubectl ?? goProgram('sigs.k8s.io/kustomize/kustomize/v5', 'v5.8.1') ?? skip('no kustomize');
    for (const path of ['base', 'overlays/nvidia', 'overlays/scaled', 'overlays/gateway']) {
      const args = [kubectl ? 'kustomize' : 'build', join(KUBERNETES, path)];
      const text = execFileSync(kustomize as string, args, { encoding: 'utf8' });
      const file = join(folder, `${path.replace('/', '-')}.yaml`);
      writeFileSync(file, text);
      const made = documentsIn(file);
      expect([path, judge(kubeconform, made).wrong]).toEqual([path, []]);
      const { spec } = made.find(({ metadata: { name }, kind }) => {
        return kind === 'Deployment' && name === 'octavo';
      });
      expect(spec.replicas === undefined).toBe(path === 'overlays/scaled');
      const [container] = spec.template.spec.containers;
      const isGpu = path === 'overlays/nvidia';
      expect(container.image).toBe(isGpu ? 'octavo:cuda' : 'octavo:cpu');
      expect(container.args.includes('--device=cuda')).toBe(isGpu);
      expect(container.resources.limits['nvidia.com/gpu']).toBe(isGpu ? '1' : undefined);
    }
  });

  it('a wrong one is found', ({ skip }) => {
    if (kubeconform === undefined) return skip('Go modules could not be fetched');
    const wrong: [string, string, (object: Manifest) => void, RegExp][] = [
      ['base/deployment.yaml', 'Deployment', ({ spec }) => (spec.replica = 2), /replica/],
      ['base/deployment.yaml', 'Deployment', ({ spec }) => delete spec.selector, /selector/],
      [
        'base/deployment.yaml',
        'Deployment',
        ({ spec }) => (spec.template.spec.containers[0].readinessProbe.httpGet.paht = '/'),
        /paht/,
      ],
      ['base/service.yaml', 'Service', ({ spec }) => (spec.ports[0].port = 'http'), /port/],
      [
        'overlays/gateway/pool.yaml',
        'InferencePool',
        ({ spec }) => (spec.endpointPickerRef.failureMode = 'FailOften'),
        /failureMode/,
      ],
      [
        'overlays/gateway/route.yaml',
        'HTTPRoute',
        ({ spec }) => (spec.rules[0].backendRef = []),
        /backendRef/,
      ],
      [
        'components/monitoring/servicemonitor.yaml',
        'ServiceMonitor',
        ({ spec }) => (spec.endpoints[0].every = '1s'),
        /every/,
      ],
    ];
    for (const [path, kind, spoil, sentence] of wrong) {
      const object = objectIn(path, kind);
      spoil(object);
      expect(judge(kubeconform, [object]).wrong).toEqual([expect.stringMatching(sentence)]);
    }
  });
});
