/** A folder of resource files, read once. */
import { systemClock } from '../../core/os/clock.ts'
import { TimeSlice } from '../../core/os/time-slice.ts'
import { combine, type FolderContent } from './combine.ts'
import { listAllMessages } from './known.ts'
import { listFiles } from './list.ts'
import type { FileContent } from './parse.ts'
import { readOne } from './read.ts'

/**
 * In this thread: for the command line, which serves nobody. File names in the result are relative to `folder`. Rejects
 * with MESH_CONFIG_INVALID when there is no such folder, or `node` is no folder name.
 */
export async function readFolder(folder: string, node: string | undefined): Promise<FolderContent> {
  const contents = listFiles(folder, node).map((file): FileContent => {
    const { content } = readOne(folder, file, undefined, listAllMessages())
    return typeof content === 'string'
      ? {
          resources: [],
          problems: [{ file, line: 1, resource: '', field: '', problem: 'is being written at this moment' }],
        }
      : content
  })
  return combine(contents, new TimeSlice(systemClock))
}
