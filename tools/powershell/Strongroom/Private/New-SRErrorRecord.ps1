function New-SRErrorRecord {
    <#
    .SYNOPSIS
        Makes an error record of a problem; its id is SR.<code of the problem>.
    #>
    [CmdletBinding()]
    [OutputType([System.Management.Automation.ErrorRecord])]
    param(
        [Parameter(Mandatory)]
        [int] $Status,

        [Parameter(Mandatory)]
        [AllowEmptyString()]
        [string] $Code,

        [Parameter(Mandatory)]
        [AllowEmptyString()]
        [string] $Message,

        [object] $Target
    )

    $category = switch ($Status) {
        400 { 'InvalidArgument' }
        401 { 'AuthenticationError' }
        403 { 'PermissionDenied' }
        404 { 'ObjectNotFound' }
        409 { 'ResourceBusy' }
        422 { 'InvalidArgument' }
        429 { 'LimitsExceeded' }
        502 { 'ResourceUnavailable' }
        503 { 'ResourceUnavailable' }
        504 { 'OperationTimeout' }
    }
    if (-not $category) {
        $category = 'NotSpecified'
    }
    $exception = [System.InvalidOperationException]::new($Message)
    $exception.Data['Status'] = $Status
    $exception.Data['Code'] = $Code
    [System.Management.Automation.ErrorRecord]::new(
        $exception,
        "SR.$Code",
        [System.Management.Automation.ErrorCategory] $category,
        $Target
    )
}
