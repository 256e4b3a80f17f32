/** Packages that the code of the pages names and a checkout does not have. */
declare module '@opentelemetry/sdk-node';
