/** All routes of a server. */
import { chatRoute } from './chat.js';
import { completionRoute } from './completions.js';
import { embeddingRoutes } from './embeddings.js';
import { generateRoute } from './generate.js';
import { livePageRoutes } from './live-page.js';
import { messageRoutes } from './messages.js';
import { openapiRoute } from './openapi.js';
import { renderRoutes } from './render.js';
import { responseRoutes } from './responses.js';
import type { Route } from './router.js';
import { scoreRoutes } from './scores.js';
import type { Service } from './service.js';
import { healthRoutes, modelRoutes, tokenRoutes } from './small-routes.js';

export function routesOf(service: Service): Route[] {
  const routes = [
    ...modelRoutes(service),
    chatRoute(service),
    completionRoute(service),
    ...responseRoutes(service),
    ...messageRoutes(service),
    ...renderRoutes(service),
    generateRoute(service),
    ...embeddingRoutes(service),
    ...scoreRoutes(service),
    ...tokenRoutes(service),
    ...healthRoutes(service),
    ...livePageRoutes(service),
  ];
  return [...routes, openapiRoute(service, routes)];
}
