/** Names of gRPC's status codes as %GRPC_STATUS% has them. */
const CAMEL = [
  'OK',
  'Canceled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
] as const

const nameOf = (code: number | undefined, form: (name: string) => string): string | undefined => {
  if (code === undefined) return undefined
  const name = CAMEL[code]
  return name === undefined ? String(code) : form(name)
}

export const GRPC_STATUS_NAMES = {
  camel: (code: number | undefined): string | undefined => nameOf(code, (name) => name),
  snake: (code: number | undefined): string | undefined =>
    nameOf(code, (name) => (code === 1 ? 'CANCELLED' : name.replace(/([a-z])([A-Z])/g, '$1_$2').toUpperCase())),
}
