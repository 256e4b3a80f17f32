import { expect, it } from 'vitest';
import { faults, kindOf, parseReadelf } from '../../scripts/check-prebuilds.mjs';

/** What readelf says of an addon for x64 with glibc, and more lines of symbols and libraries. */
const said = ({
  symbols = '',
  needed = 'libc.so.6',
  machine = 'Advanced Micro Devices X86-64',
} = {}) => `
ELF Header:
  Machine:                           ${machine}
Dynamic section at offset 0x53c000 contains 29 entries:
 0x0000000000000001 (NEEDED)             Shared library: [libm.so.6]
 0x0000000000000001 (NEEDED)             Shared library: [${needed}]
Symbol table '.dynsym' contains 5 entries:
   Num:    Value          Size Type    Bind   Vis      Ndx Name
     0: 0000000000000000     0 NOTYPE  LOCAL  DEFAULT  UND 
     1: 0000000000001000     0 SECTION LOCAL  DEFAULT   11 .init
     2: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND memcpy@GLIBC_2.14 (7)
     3: 0000000000000000     0 NOTYPE  GLOBAL DEFAULT  UND napi_create_function
     4: 0000000000000000     0 NOTYPE  WEAK   DEFAULT  UND __gmon_start__
     5: 0000000000031b90    28 FUNC    GLOBAL DEFAULT   13 napi_register_module_v1
     6: 0000000000031b80     6 FUNC    GLOBAL DEFAULT   13 node_api_module_get_api_version_v1
${symbols}`;
const GLIBC = { arch: 'x64', libc: 'glibc', cuda: false };
const undef = (name: string, bind = 'GLOBAL') =>
  said({ symbols: `     7: 0000000000000000     0 FUNC    ${bind} DEFAULT  UND ${name}` });
const wrong = (text: string, kind = GLIBC) => faults(parseReadelf(text), kind);

it('an addon that asks for what every machine has is right', () => {
  expect(wrong(said())).toEqual([]);
  expect(wrong(undef('powf@GLIBC_2.28 (3)'))).toEqual([]);
  expect(wrong(undef('_Unwind_Resume@GCC_3.0 (5)'))).toEqual([]);
});

it('names what a machine with glibc 2.28 lacks', () => {
  expect(wrong(undef('exp@GLIBC_2.29 (3)'))).toEqual(['needs exp of GLIBC_2.29']);
  expect(wrong(undef('pthread_create@GLIBC_2.34 (3)', 'WEAK  '))).toHaveLength(1);
  expect(wrong(undef('_ZSt28v@GLIBCXX_3.4.29 (2)'))).toEqual(['needs _ZSt28v of GLIBCXX_3.4.29']);
  expect(wrong(said({ needed: 'libstdc++.so.6' }))).toEqual(['needs the library libstdc++.so.6']);
});

it('names symbols that nobody defines, as a pin without its function', () => {
  expect(wrong(undef('__wrap_exp'))).toEqual(['needs __wrap_exp, of no version']);
});

it('names what is offered beside the two functions of Node-API, and what is not', () => {
  const more = '     7: 0000000000037190    63 FUNC    WEAK   DEFAULT   13 _ZNSt6vectorE';
  expect(wrong(said({ symbols: more }))).toEqual(['offers _ZNSt6vectorE']);
  expect(wrong(said().replace('napi_register_module_v1', 'napi_register_module_v2'))).toEqual([
    'offers napi_register_module_v2',
    'does not offer napi_register_module_v1',
  ]);
});

it('knows the kind from the path; musl has no versions, CUDA has libraries of its own', () => {
  expect(kindOf('prebuilds/linux-x64/octavo.glibc.node')).toEqual(GLIBC);
  const musl = kindOf('prebuilds/linux-arm64/octavo.musl.node');
  expect(musl).toEqual({ arch: 'arm64', libc: 'musl', cuda: false });
  const cuda = kindOf('prebuilds-cuda/linux-x64/octavo.node');
  expect(cuda).toEqual({ ...GLIBC, cuda: true });
  expect(kindOf('prebuilds/win32-x64/octavo.node')).toBeUndefined();
  expect(wrong(said(), musl)).toContain('needs memcpy of GLIBC_2.14');
  expect(wrong(said(), musl)[0]).toMatch(/is for .*X86-64, not arm64/);
  expect(wrong(said({ needed: 'libdl.so.2' }), cuda)).toEqual([]);
  expect(wrong(said({ needed: 'libdl.so.2' }))).toEqual(['needs the library libdl.so.2']);
});
