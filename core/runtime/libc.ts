/**
 * Functions of glibc that Node does not call, through its FFI, which is experimental: only a thread that was started
 * with FFI_ARGV has it.
 */

/** For a Worker's `execArgv`, which give FFI to that thread alone. */
export const FFI_ARGV: readonly string[] = ['--experimental-ffi', '--disable-warning=ExperimentalWarning']

type Argument = 'uint64' | 'int32'
type Signature = { readonly return: 'int32'; readonly arguments: readonly Argument[] }
type Call = (...args: readonly (bigint | number)[]) => number
type Ffi = {
  dlopen(
    file: string,
    functions: Readonly<Record<string, Signature>>,
  ): { readonly functions: Readonly<Record<string, Call>> }
}

/** Undefined where there is no FFI, no glibc, or no such function. */
export function findLibcFunction(name: string, takes: readonly Argument[]): Call | undefined {
  try {
    // Node's types know no experimental modules.
    const ffi = process.getBuiltinModule('node:ffi') as unknown as Ffi
    return ffi.dlopen('libc.so.6', { [name]: { return: 'int32', arguments: takes } }).functions[name]
  } catch {
    return undefined
  }
}
