/** deploy/kubernetes: each file says what the others and the server say. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { serveCommand } from '../../lib/cli/serve.js';
import {
  DEPLOY,
  documentsIn,
  documentsOf,
  KUBERNETES,
  type Manifest,
  objectIn,
  yamlFiles,
} from '../support/manifests.js';

const BASE = 'base/deployment.yaml';
const GATEWAY = 'overlays/gateway';

const deployment = objectIn(BASE, 'Deployment');
const pod = deployment.spec.template;
const [container] = pod.spec.containers;
const picker = objectIn(`${GATEWAY}/picker.yaml`, 'Deployment', 'octavo-epp');

/** What stands behind `--name=` in a list of arguments. */
function flagIn(args: readonly string[], name: string): string {
  const found = args.filter((one) => one.startsWith(`--${name}=`));
  if (found.length !== 1) throw new Error(`--${name} stands ${found.length} times in ${args}`);
  return found[0].slice(name.length + 3);
}

/** Kubernetes' quantities, as far as they stand here, in bytes. */
function bytesOf(quantity: string): number {
  const [, number, unit] = /^(\d+)([KMGT]i)$/.exec(quantity) ?? [];
  if (number === undefined) throw new Error(`${quantity} is no such quantity`);
  return Number(number) * 1024 ** (['Ki', 'Mi', 'Gi', 'Ti'].indexOf(unit) + 1);
}

describe('files', () => {
  it('are all part of a kustomization, which names none that is not there', () => {
    const named = new Set<string>();
    const absent: string[] = [];
    for (const path of yamlFiles().filter((one) => one.endsWith('kustomization.yaml'))) {
      const [{ resources = [], components = [], patches = [] }] = documentsIn(path);
      const paths = [...resources, ...components, ...patches.map((one: Manifest) => one.path)];
      for (const one of paths.filter((text) => text !== undefined)) {
        const target = join(dirname(path), one);
        const isFolder = !target.endsWith('.yaml');
        named.add(isFolder ? join(target, 'kustomization.yaml') : target);
        const file = isFolder ? join(target, 'kustomization.yaml') : target;
        if (!existsSync(join(KUBERNETES, file))) absent.push(`${path}: ${one}`);
      }
    }
    expect(absent).toEqual([]);
    const alone = yamlFiles().filter((path) => !named.has(path));
    // What people apply, and what they give to a chart.
    expect(alone).toEqual([
      'components/autoscale/prometheus-adapter.yaml',
      'overlays/gateway/kustomization.yaml',
      'overlays/nvidia/kustomization.yaml',
      'overlays/scaled/kustomization.yaml',
    ]);
  });

  it('are refused where a key stands twice', () => {
    expect(() => documentsOf('a: 1\na: 2\n')).toThrow(/unique/);
  });
});

describe('arguments', () => {
  const command = serveCommand();
  const unknownOf = (args: readonly string[]) => command.parseOptions([...args]).unknown;

  it('are flags of `octavo serve`', () => {
    expect(container.args[0]).toBe('serve');
    expect(unknownOf(container.args.slice(1))).toEqual([]);
    expect(unknownOf(['--no-such-flag=1'])).toEqual(['--no-such-flag=1']);
  });

  it('on a GPU, take the place of those that are meant', () => {
    const [{ patches }] = documentsIn('overlays/nvidia/kustomization.yaml');
    const [{ patch }] = patches.filter((one: Manifest) => one.patch !== undefined);
    const args: string[] = [...container.args];
    const prefix = '/spec/template/spec/containers/0/args/';
    for (const { op, path, value } of documentsOf(patch)[0]) {
      expect(path.startsWith(prefix)).toBe(true);
      const place = path.slice(prefix.length);
      if (op === 'test') expect(args[place]).toBe(value);
      else if (op === 'replace') args[place] = value;
      else expect([op, place, args.push(value)]).toEqual(['add', '-', args.length]);
    }
    expect(unknownOf(args.slice(1))).toEqual([]);
    expect(args.join(' ')).not.toContain('kv-cache-memory-bytes');
    expect(flagIn(args, 'device')).toBe('cuda');
    const [gpu] = documentsIn('overlays/nvidia/gpu.yaml');
    const { limits } = gpu.spec.template.spec.containers[0].resources;
    expect(bytesOf(limits.memory)).toBeGreaterThan(Number(flagIn(args, 'swap-space')) * 2 ** 30);
  });

  it('leave room for weights in what a pod may take of memory', () => {
    const { requests, limits } = container.resources;
    // What is not given whole is taken away when the node is short of it.
    expect(limits).toEqual(requests);
    expect(Number.isInteger(Number(limits.cpu))).toBe(true);
    const kv = Number(flagIn(container.args, 'kv-cache-memory-bytes'));
    const swap = Number(flagIn(container.args, 'swap-space')) * 2 ** 30;
    expect(bytesOf(limits.memory) - kv - swap).toBeGreaterThanOrEqual(2 ** 30);
  });
});

describe('the end of a pod', () => {
  it('has time for what preStop and requests take', () => {
    const { terminationGracePeriodSeconds: grace } = pod.spec;
    const preStop = container.lifecycle.preStop.sleep.seconds;
    const drain = Number(flagIn(container.args, 'shutdown-timeout'));
    expect(grace).toBeGreaterThanOrEqual(preStop + drain + 10);
    // It is told to others that the pod is no longer ready before SIGTERM comes.
    const { periodSeconds, failureThreshold } = container.readinessProbe;
    expect(preStop).toBeGreaterThanOrEqual(periodSeconds);
    expect(failureThreshold).toBeGreaterThan(1);
    // Whoever sends to it lives as long.
    expect(picker.spec.template.spec.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(grace);
  });
});

describe('names', () => {
  const labels = pod.metadata.labels;
  const component = 'components/monitoring/servicemonitor.yaml';
  const service = objectIn('base/service.yaml', 'Service');
  const pool = objectIn(`${GATEWAY}/pool.yaml`, 'InferencePool');

  it('of labels: whatever selects pods selects these', () => {
    const [{ labels: added }] = documentsIn('base/kustomization.yaml');
    const serviceLabels = { ...service.metadata.labels, ...added[0].pairs };
    const selectors = [
      [labels, deployment.spec.selector.matchLabels],
      [labels, service.spec.selector],
      [labels, objectIn('base/disruption.yaml', 'PodDisruptionBudget').spec.selector.matchLabels],
      [labels, pod.spec.topologySpreadConstraints[0].labelSelector.matchLabels],
      [labels, pool.spec.selector.matchLabels],
      [serviceLabels, objectIn(component, 'ServiceMonitor').spec.selector.matchLabels],
      [picker.spec.template.metadata.labels, picker.spec.selector.matchLabels],
    ];
    for (const [all, some] of selectors) {
      expect(Object.keys(some).length).toBeGreaterThan(0);
      expect(all).toMatchObject(some);
    }
    // The endpoint picker is no server.
    expect(picker.spec.template.metadata.labels).not.toMatchObject(service.spec.selector);
    expect(labels['llm-d.ai/engine-type']).toBe('vllm');
  });

  it('of ports: each leads to where the server listens', () => {
    const port = Number(flagIn(container.args, 'port'));
    const [{ name, containerPort }] = container.ports;
    expect(containerPort).toBe(port);
    const probes = ['startupProbe', 'readinessProbe', 'livenessProbe'];
    expect(probes.map((one) => container[one].httpGet.port)).toEqual([name, name, name]);
    const [served] = service.spec.ports;
    expect(served.targetPort).toBe(name);
    expect(objectIn(component, 'ServiceMonitor').spec.endpoints[0].port).toBe(served.name);
    expect(pool.spec.targetPorts).toEqual([{ number: port }]);
    for (const file of ['Dockerfile', 'Dockerfile.cuda']) {
      expect(readFileSync(join(DEPLOY, file), 'utf8')).toContain(`EXPOSE ${port}\n`);
    }
  });

  it('of objects: each that is named is there', () => {
    const { endpointPickerRef } = pool.spec;
    const service = objectIn(`${GATEWAY}/picker.yaml`, 'Service', endpointPickerRef.name);
    expect(service.spec.ports.map((one: Manifest) => one.port)).toContain(
      endpointPickerRef.port.number,
    );
    const [epp] = picker.spec.template.spec.containers;
    expect(flagIn(epp.args, 'pool-name')).toBe(pool.metadata.name);
    expect(flagIn(epp.args, 'pool-group')).toBe(pool.apiVersion.split('/')[0]);
    const config = objectIn(`${GATEWAY}/picker.yaml`, 'ConfigMap', 'octavo-epp');
    const file = flagIn(epp.args, 'config-file').split('/').at(-1) as string;
    const { plugins, schedulingProfiles } = documentsOf(config.data[file])[0];
    const known = plugins.map((one: Manifest) => one.type);
    const used = schedulingProfiles[0].plugins.map((one: Manifest) => one.pluginRef);
    expect(used).toEqual(known);
    const [{ backendRefs }] = objectIn(`${GATEWAY}/route.yaml`, 'HTTPRoute').spec.rules;
    expect(backendRefs).toEqual([
      { group: pool.apiVersion.split('/')[0], kind: 'InferencePool', name: pool.metadata.name },
    ]);
    const [claim] = pod.spec.volumes.filter((one: Manifest) => one.persistentVolumeClaim);
    const { claimName } = claim.persistentVolumeClaim;
    objectIn('base/models.yaml', 'PersistentVolumeClaim', claimName);
    const { scaleTargetRef } = objectIn(
      'components/autoscale/hpa.yaml',
      'HorizontalPodAutoscaler',
    ).spec;
    const { apiVersion, kind, metadata } = deployment;
    expect(scaleTargetRef).toEqual({ apiVersion, kind, name: metadata.name });
  });
});
