export default {
  // The addon and the model's files are loaded by Node itself, not bundled.
  serverExternalPackages: ['octavo'],

  // They are found while the program runs, so `output: 'standalone'` has to be told of them, for
  // each route that loads a model. In a workspace they may lie in '../../node_modules'.
  outputFileTracingIncludes: {
    '/api/complete': [
      './node_modules/octavo/prebuilds/**/*',
      './node_modules/octavo/build/Release/octavo.node', // where npm has compiled it
      './node_modules/octavo/models/**/*',
      './node_modules/node-gyp-build/**/*',
      './node_modules/@octavo/**/*', // the package with CUDA
    ],
  },
};
