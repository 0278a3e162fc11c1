import type { JobRequest } from '../../../src/protocol.js'

/** What is asked for, without the bytes of pictures. */
export type JobOptions = Omit<JobRequest, 'image' | 'mask' | 'semanticMap' | 'depthMap'>
