/** The addon and the model's files are loaded by Node itself, not bundled. */
export default { serverExternalPackages: ['octavo'] };
