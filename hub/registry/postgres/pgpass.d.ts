declare module 'pgpass' {
  /** Reads PGPASSFILE, or ~/.pgpass; a file that others can read is passed over, with a warning on standard error. */
  export default function pgpass(
    of: { readonly host: string; readonly port: number; readonly database: string; readonly user: string },
    done: (password: string | undefined) => void,
  ): void
}
