function Get-SRJobSession {
    <#
    .SYNOPSIS
        Gets sessions, newest first.

    .DESCRIPTION
        All sessions, those of jobs, or one by its id. Properties are those of the REST API; totals holds the sums over
        the tasks of the session. Pages are read as they are needed: Select-Object -First stops the reading.

    .PARAMETER Job
        Jobs from Get-SRJob, or their names.

    .PARAMETER Id
        Ids of sessions.

    .PARAMETER State
        Only sessions in these states.

    .EXAMPLE
        Get-SRJob -Name Everybody | Get-SRJobSession | Select-Object -First 1

        The newest session of a job.

    .EXAMPLE
        Get-SRJobSession -State failed, warning

        Sessions that somebody should look at.

    .OUTPUTS
        Strongroom.Session
    #>
    [CmdletBinding(DefaultParameterSetName = 'Job')]
    [OutputType('Strongroom.Session')]
    param(
        [Parameter(ParameterSetName = 'Job', Position = 0, ValueFromPipeline)]
        [object[]] $Job,

        [Parameter(ParameterSetName = 'Id', Mandatory)]
        [string[]] $Id,

        [ValidateSet('queued', 'running', 'stopping', 'success', 'warning', 'failed', 'stopped')]
        [string[]] $State
    )

    process {
        $wanted = { -not $State -or $_.state -in $State }
        try {
            if ($PSCmdlet.ParameterSetName -eq 'Id') {
                foreach ($each in $Id) {
                    Invoke-SRRequest -Method Get -Path '/sessions/{id}' -Parameter @{ id = $each } |
                        Add-SRType -TypeName 'Strongroom.Session' |
                        Where-Object -FilterScript $wanted
                }
            }
            elseif ($Job) {
                foreach ($each in Resolve-SRJob -Job $Job) {
                    Get-SRPage -Path '/sessions' -TypeName 'Strongroom.Session' -Query @{ job = $each } |
                        Where-Object -FilterScript $wanted
                }
            }
            else {
                Get-SRPage -Path '/sessions' -TypeName 'Strongroom.Session' |
                    Where-Object -FilterScript $wanted
            }
        }
        catch [System.InvalidOperationException] {
            $PSCmdlet.WriteError($_)
        }
    }
}
