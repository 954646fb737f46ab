/** The state directory and the databases in it. */
import type { Row } from './row.ts'

export const STORAGE = {
  MESH_STATE_UNUSABLE: {
    origin: 'internal',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy:
      "Give the state directory and everything in it to the service's user and nobody else: chown -R, mode 0700, files 0600, no links; or name another with `state`. Run commands that write there as that user.",
  },
  MESH_PRECOMPILE_FAILED: {
    origin: 'config',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy:
      'Run meshlet precompile as the user who installed the bundle; without it everything works, and a start takes longer.',
  },
  MESH_STATE_LOCKED: {
    origin: 'config',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy:
      'Give identity.encryptionKey the key that the file was sealed with; the file is left as it is. Without that key, move the file away and join again.',
  },
  MESH_STATE_IN_USE: {
    origin: 'config',
    retry: 'never',
    http: 503,
    flag: '-',
    remedy: 'Another meshlet works with this state directory: stop it, or give each its own `state`.',
  },
  MESH_FILE_UNWRITABLE: {
    origin: 'config',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy: 'Name a file in a folder that is there and that you may write to, on a disk with room.',
  },
  MESH_STORAGE_FULL: {
    origin: 'internal',
    retry: 'never',
    http: 507,
    flag: '-',
    remedy: "Free space on the disk of the state directory, or lower the spool's limits.",
  },
  MESH_STORAGE_FAILED: {
    origin: 'internal',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy: 'See the cause; the disk may be failing.',
  },
  MESH_STORAGE_DAMAGED: {
    origin: 'internal',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy:
      'A damaged file is set aside at the start, beside the one that takes its place; keep it for salvage. The disk may be failing.',
  },
  MESH_STORAGE_NEWER: {
    origin: 'config',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy: 'The file was written by a newer meshlet: upgrade again, or move the file away.',
  },
} as const satisfies Record<string, Row>
