/** One side of a request. '' = not known. */
export type Workload = {
  readonly name: string
  readonly namespace: string
  readonly canonicalService: string
  readonly canonicalRevision: string
  readonly cluster: string
  readonly app: string
  readonly version: string
}

export const UNKNOWN_WORKLOAD: Workload = {
  name: '',
  namespace: '',
  canonicalService: '',
  canonicalRevision: '',
  cluster: '',
  app: '',
  version: '',
}
