/** /openapi.json, made of the schemas that requests are checked with. */
import { z } from 'zod';
import type { Route } from './router.js';
import { problem } from './schemas/answers.js';
import { type Service, VERSION } from './service.js';

function jsonSchema(schema: z.ZodType, io: 'input' | 'output') {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return rest;
}

function content(schema: z.ZodType, io: 'input' | 'output') {
  return { 'application/json': { schema: jsonSchema(schema, io) } };
}

/** What a route answers where all is well: JSON, events where a stream may be asked for. */
function answer({ response, streams, summary, contentType = 'text/plain' }: Route) {
  // Each event, as OpenAPI 3.2 says it.
  const event = { data: { type: 'string' }, event: { type: 'string' } };
  const schema = { type: 'object', properties: event, required: ['data'] };
  const events = { 'text/event-stream': { schema } };
  const text = { [contentType]: { schema: { type: 'string' } } };
  return {
    description: streams ? 'The answer; with `stream: true` events of it' : summary,
    content: {
      ...(response === undefined ? text : content(response, 'output')),
      ...(streams ? events : {}),
    },
  };
}

function operation(route: Route, hasKeys: boolean) {
  const { body, summary, guarded, path } = route;
  const id = { name: 'id', in: 'path', required: true, schema: { type: 'string' } };
  return {
    summary,
    ...(path.includes('{id}') ? { parameters: [id] } : {}),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: content(body, 'input') } }),
    responses: {
      200: answer(route),
      default: { description: 'An error', content: content(route.problem ?? problem, 'output') },
    },
    ...(guarded && hasKeys ? { security: [{ bearer: [] }] } : {}),
  };
}

/** All but where it is served, which each request may see at another place. */
function documentOf(service: Service, routes: readonly Route[]): object {
  const { apiKey } = service.config;
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    const methods = (paths[route.path] ??= {});
    methods[route.method.toLowerCase()] = operation(route, apiKey !== undefined);
  }
  const bearer = { type: 'http', scheme: 'bearer' };
  return {
    openapi: '3.1.0',
    info: { title: 'octavo', version: VERSION },
    paths,
    components: apiKey === undefined ? {} : { securitySchemes: { bearer } },
  };
}

export function openapiRoute(service: Service, routes: readonly Route[]): Route {
  let document: object | undefined;
  return {
    method: 'GET',
    path: '/openapi.json',
    summary: 'This document',
    guarded: false,
    handle(exchange) {
      document ??= documentOf(service, routes);
      exchange.json({ ...document, servers: [{ url: exchange.root || '/' }] });
    },
  };
}
