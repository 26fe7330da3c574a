function Start-SRJob {
    <#
    .SYNOPSIS
        Starts jobs.

    .DESCRIPTION
        Each job begins a session, which is returned. A job that runs already is an error; the others start.

    .PARAMETER Job
        Jobs from Get-SRJob, or their names.

    .PARAMETER Wait
        Shows the progress and returns each session when it has ended. A session that failed is an error as well.

    .EXAMPLE
        Get-SRJob -Name Everybody | Start-SRJob

        Starts a job.

    .EXAMPLE
        (Start-SRJob -Job Everybody -Wait).totals

        Starts a job, waits for its end and shows what it did.

    .OUTPUTS
        Strongroom.Session
    #>
    [CmdletBinding(SupportsShouldProcess, ConfirmImpact = 'Medium')]
    [OutputType('Strongroom.Session')]
    param(
        [Parameter(Mandatory, Position = 0, ValueFromPipeline)]
        [ValidateNotNullOrEmpty()]
        [object[]] $Job,

        [switch] $Wait
    )

    process {
        foreach ($each in $Job) {
            $label = if ($each -is [string]) { $each } else { $each.name }
            if (-not $PSCmdlet.ShouldProcess($label, 'Start job')) {
                continue
            }
            try {
                foreach ($id in Resolve-SRJob -Job $each) {
                    $session = Invoke-SRRequest -Method Post -Path '/jobs/{id}/start' -Parameter @{ id = $id }
                    if ($Wait) {
                        $session = Wait-SRSession -Session $session
                    }
                    $session | Add-SRType -TypeName 'Strongroom.Session'
                    if ($session.state -eq 'failed') {
                        $record = New-SRErrorRecord -Status 500 -Code $session.error_code -Message $session.error -Target $session
                        $PSCmdlet.WriteError($record)
                    }
                }
            }
            catch [System.InvalidOperationException] {
                $PSCmdlet.WriteError($_)
            }
        }
    }
}
